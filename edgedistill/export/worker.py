"""The child process that lowers programs to one format: `python -m edgedistill.export.worker JOB.json`.

Converters print a great deal, take hundreds of megabytes and may crash: each format gets a process of its own, whose
output goes to a log file.
"""

import gc
import importlib
import resource
import sys
import time
from pathlib import Path

from edgedistill.backends import backend
from edgedistill.errors import UserError
from edgedistill.export.fitting import check, of_file
from edgedistill.export.planes import by_planes
from edgedistill.export.programs import load_operators, load_signature, rewritten
from edgedistill.files import read_json, write_json
from edgedistill.recipe.precisions import is_integer
from edgedistill.records import ArtifactSpec


def main(job_path: str) -> None:
    """Lower every program of the job, and write what it took as JSON."""
    job = read_json(Path(job_path))
    # The operators that a saved quantized program names have to be registered before it is loaded.
    importlib.import_module("torchao.quantization.pt2e.quantize_pt2e")
    if operators := backend(job["format"]).operators:
        importlib.import_module(operators)
    import torch
    from torch.fx.traceback import NodeSource

    # A node's record of what it was made from is copied whole by each of about a hundred passes, and grows with each: up to a quarter of
    # the time of lowering. Nothing changes such a record, so a copy may be the record itself.
    NodeSource.__deepcopy__ = lambda self, memo: self  # type: ignore[attr-defined]
    # Graphs are cycles that live to the end: collecting them is a tenth of the time, and frees nothing in a process of a minute.
    gc.disable()
    from edgedistill.quantize.graph import float_layers

    lowering = importlib.import_module(backend(job["format"]).lower)
    lowered = []
    for item in job["lower"]:
        started = time.monotonic()
        program, signature = torch.export.load(item["program"]), load_signature(Path(item["program"]))
        spec = ArtifactSpec.model_validate(item["spec"])
        try:
            check(load_operators(Path(item["program"])), signature, spec)
        except UserError as refused:
            write_json(Path(job["result"]), {"refused": str(refused)})
            return
        left = float_layers(program.graph_module) if is_integer(spec.precision) else []
        if backend(spec.format).planar:
            program = rewritten(program, by_planes)
        lowering.lower(program, signature, Path(item["path"]), spec, item["metadata"])
        made = of_file(signature, spec).model_dump(mode="json")
        seconds = time.monotonic() - started
        lowered.append({"path": item["path"], "seconds": seconds, "signature": made, "mixed": left or None})
    write_json(Path(job["result"]), {"lowered": lowered, "peak_rss_mb": _peak_rss_mb()})


def _peak_rss_mb() -> float:
    """Most memory that this process has taken, in MiB. `ru_maxrss` would count that of the process that started it as well."""
    try:
        status = Path("/proc/self/status").read_text()
    except FileNotFoundError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) / 1024


if __name__ == "__main__":
    main(sys.argv[1])
