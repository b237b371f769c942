"""The child process that lowers programs to one format: `python -m edgedistill.export.worker JOB.json`.

Converters print a great deal, take hundreds of megabytes and may crash: each format gets a process of its own, whose
output goes to a log file.
"""

import gc
import importlib
import resource
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from edgedistill import storage
from edgedistill.backends import Backend, backend
from edgedistill.errors import UserError
from edgedistill.export.fitting import check, of_file
from edgedistill.export.planes import by_planes
from edgedistill.export.programs import load_operators, load_signature, of_sizes, rewritten
from edgedistill.files import read_json, write_json
from edgedistill.recipe.precisions import is_integer
from edgedistill.records import ArtifactSpec


def main(job_path: str) -> None:
    """Lower the programs of the job one by one, and write after each what it took, or how it failed, as JSON."""
    job = read_json(Path(job_path))
    # The operators that a saved quantized program names have to be registered before it is loaded.
    importlib.import_module("torchao.quantization.pt2e.quantize_pt2e")
    if operators := backend(job["format"]).operators:
        importlib.import_module(operators)
    from edgedistill.quantize.trace import share_sources

    share_sources()
    # Graphs are cycles that live to the end: collecting them is a tenth of the time, and frees nothing in a process of a minute.
    gc.disable()
    answers: list[dict[str, Any]] = []
    for item in job["lower"]:
        try:
            answers.append(_lowered(item, backend(job["format"])))
        except Exception as error:
            # A converter fails in any way; the others of the job go on.
            traceback.print_exc()
            if full := storage.failure_of(error, Path(item["path"])):
                print(full, file=sys.stderr)
                sys.exit(storage.EXIT_STATUS)
            answers.append({"error": str(error) if isinstance(error, UserError) else _text(error)})
        write_json(Path(job["result"]), {"lowered": answers, "peak_rss_mb": _peak_rss_mb()})


def _lowered(item: dict[str, Any], facts: Backend) -> dict[str, Any]:
    import torch

    from edgedistill.quantize.graph import float_layers

    started = time.monotonic()
    source, spec = Path(item["program"]), ArtifactSpec.model_validate(item["spec"])
    program, signature = torch.export.load(source), load_signature(source)
    check(load_operators(source), signature, spec)
    if spec.sizes:
        program, signature = of_sizes(program, signature, spec.sizes), signature.with_sizes(spec.sizes)
    left = float_layers(program.graph_module) if is_integer(spec.precision) else []
    if facts.planar:
        program = rewritten(program, by_planes)
    importlib.import_module(facts.lower).lower(program, signature, Path(item["path"]), spec, item["metadata"])
    made = of_file(signature, spec).model_dump(mode="json")
    return {"seconds": time.monotonic() - started, "signature": made, "mixed": left or None}


def _text(error: Exception) -> str:
    """One line that says what failed: converters raise errors of many lines, the first of which says most."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


def _peak_rss_mb() -> float:
    """Most memory that this process has taken, in MiB. `ru_maxrss` would count that of the process that started it as well."""
    try:
        status = Path("/proc/self/status").read_text()
    except FileNotFoundError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) / 1024


if __name__ == "__main__":
    main(sys.argv[1])
