"""How the runtimes take the files of an architecture: partitions of the .pte, and how long an inference takes on this machine."""

import json
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from edgedistill.backends import backend
from edgedistill.backends.delegation import delegation
from edgedistill.export.fitting import of_file
from edgedistill.export.programs import load_signature
from edgedistill.files import read_arrays, write_json
from edgedistill.measure.runner.facts import machine
from edgedistill.records import ArtifactSpec, Delegation

TIMED = {"executorch": ("int8", "fp32"), "litert": ("int8",)}
"""Precisions by format."""
_SECONDS = 3.0
LEAST = 30
"""Inferences of each file, or as many as take three seconds."""


def add_times(names: list[str], root: Path) -> None:
    """Write times.json for each network that has files and no times yet: the CPU, ms by file, parts, and what is outside of them."""
    for name in names:
        folder = root / name
        if (folder / "times.json").exists() or not (folder / "results.json").exists():
            continue
        found: dict[str, object] = {"cpu": machine().get("cpu"), "ms": {}}
        for kind, precisions in TIMED.items():
            specs = [spec for spec in (ArtifactSpec(kind, precision, "it") for precision in precisions) if (folder / spec.name).exists()]
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                try:
                    found["ms"] |= pool.submit(fastest, [spec.model_dump(exclude={"name"}) for spec in specs], str(folder)).result()  # type: ignore[operator]
                except BrokenProcessPool:
                    print(f"{name}: the runtime of {kind} crashed", flush=True)
        if (pte := folder / ArtifactSpec("executorch", "int8", "it").name).exists():
            report = delegation("executorch", pte)
            if isinstance(report, Delegation):
                macs = report.macs if isinstance(report.macs, int) else None
                found |= {"parts": report.partitions, "outside": report.outside, "macs": macs}
        write_json(folder / "times.json", found)
        print(name, json.dumps(found), flush=True)


def fastest(artifacts: list[dict[str, str]], folder: str) -> dict[str, float]:
    """Milliseconds of the fastest inference of each file, on one thread; the files of one format take turns.

    Other work on the machine only adds to a time, and to some files more than to others: the least is what the file itself takes.
    """
    root, runs = Path(folder), dict[str, Any]()
    samples = read_arrays(root / "samples")
    for artifact in artifacts:
        spec = ArtifactSpec(**artifact)  # type: ignore[arg-type]
        executor = backend(spec.format).executor(float16=False)
        assert executor is not None
        adapter = import_module(executor.module)
        if not runs:
            adapter.prepare(1)
        method = of_file(load_signature(root / spec.program), spec).forward
        given = {tensor.name: samples[tensor.name][[0]].astype(tensor.dtype) for tensor in method.inputs}
        runs[f"{spec.format} {spec.precision}"] = adapter.load(str(root / spec.name), 1, method.model_dump(mode="json")), given
    least = dict.fromkeys(runs, float("inf"))
    rounds, end = 0, time.monotonic() + _SECONDS * len(runs)
    while rounds < LEAST or time.monotonic() < end:
        for name, (run, given) in runs.items():
            started = time.perf_counter()
            run(given)
            least[name] = min(least[name], (time.perf_counter() - started) * 1e3)
        rounds += 1
    return least
