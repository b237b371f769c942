"""How the runtimes take the files of an architecture: partitions of the .pte, and how long an inference takes on this machine."""

import json
from pathlib import Path

from edgedistill.backends import backend
from edgedistill.backends.delegation import delegation
from edgedistill.errors import DeviceFailed
from edgedistill.export.fitting import of_file
from edgedistill.export.programs import load_signature
from edgedistill.files import write_json
from edgedistill.measure.local import execute
from edgedistill.measure.runner.job_types import BenchSettings
from edgedistill.records import ArtifactSpec, Delegation

TIMED = (ArtifactSpec("executorch", "int8", "it"), ArtifactSpec("executorch", "fp32", "it"), ArtifactSpec("litert", "int8", "it"))
_BENCH: BenchSettings = {"warmup_s": 0.3, "relative_width": 0.02, "min_s": 0.5, "max_s": 3.0, "min_samples": 50}
_TIMEOUT_S = 120


def add_times(names: list[str], root: Path) -> None:
    """Write times.json for each network that has files and no times yet: the CPU, parts, what is outside of them, and medians in ms."""
    for name in names:
        folder = root / name
        if (folder / "times.json").exists() or not any((folder / spec.name).exists() for spec in TIMED):
            continue
        found: dict[str, object] = {"ms": {}}
        for spec in TIMED:
            if (folder / spec.name).exists():
                _add(found, spec, folder)
        if (pte := folder / TIMED[0].name).exists():
            report = delegation("executorch", pte)
            if isinstance(report, Delegation):
                macs = report.macs if isinstance(report.macs, int) else None
                found |= {"parts": report.partitions, "outside": report.outside, "macs": macs}
        write_json(folder / "times.json", found)
        print(name, json.dumps(found), flush=True)


def _add(found: dict[str, object], spec: ArtifactSpec, folder: Path) -> None:
    adapter = backend(spec.format).executor(float16=False)
    assert adapter is not None
    signature = of_file(load_signature(folder / spec.program), spec).forward
    try:
        ran = execute(
            adapter.module, folder / spec.name, folder / "samples", signature=signature, outputs=None, threads=1, bench=_BENCH,
            log=folder / "times.log", timeout_s=_TIMEOUT_S,
        )  # fmt: skip
    except DeviceFailed as error:
        print(error, flush=True)
        return
    found["cpu"] = ran.facts.get("cpu")
    if ran.latency_ms is not None:
        found["ms"][f"{spec.format} {spec.precision}"] = ran.latency_ms.p50  # type: ignore[index]
