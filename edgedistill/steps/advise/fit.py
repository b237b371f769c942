"""Whether the student can keep the limits of its targets: by its files as they were measured, else by its parameters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from edgedistill.recipe.precisions import bits
from edgedistill.recipe.targets import Target, load_target
from edgedistill.records import ArtifactResult, ArtifactSpec
from edgedistill.records.advice import Finding
from edgedistill.records.measurements import Measurement
from edgedistill.steps.advise.evidence import Evidence
from edgedistill.steps.wanted import files_of

_MIB = 2**20
_HERE = "local"


@dataclass
class _File:
    """A file of a target, held against the limits."""

    name: str
    mib: float
    measured: bool
    """Whether the file is there; else its size is what its parameters take at least."""
    broken: list[str] = field(default_factory=list)
    """Limits that it can't keep on such a device."""
    doubtful: list[str] = field(default_factory=list)
    """Limits that it did not keep on this machine, which is no such device."""
    missing: list[str] = field(default_factory=list)
    """Limits of which nothing is known."""


def of_targets(e: Evidence) -> Iterator[Finding]:
    """A finding for each target of the recipe that sets limits, and one for the others together."""
    targets = list(map(load_target, e.recipe.targets))
    limits = {target.name: target.device_budgets.model_dump(exclude_none=True) for target in targets}
    for target in targets:
        if limits[target.name]:
            yield _target(e, target, limits[target.name])
    if free := [target for target in targets if not limits[target.name]]:
        files = [_held(e, spec, {}) for target in free for spec in files_of(target.artifacts, e.recipe)]
        names = " and ".join(target.name for target in free)
        text = f"No limits are set for {names}, so that nothing says whether the student fits; its files have {_sizes(files)}."
        instead = "Write device_budgets into a target of your own: the latency and memory that the app can afford."
        yield Finding(subject="targets", severity="unknown", text=text, instead=instead, **_facts(files))


def _sizes(files: list[_File]) -> str:
    sizes = sorted(file.mib for file in files)
    return f"{sizes[0]:.2f} to {sizes[-1]:.2f} MiB"


def _facts(files: list[_File]) -> dict[str, Any]:
    """The sizes of files as figures, and where they are from."""
    measured = all(file.measured for file in files)
    source = "files of the run" if measured else "parameters of the student x bits of each precision, which is less than a file has"
    return {"figures": {f"MiB, {file.name}": round(file.mib, 3) for file in files}, "source": source}


def _target(e: Evidence, target: Target, limits: dict[str, float]) -> Finding:
    files = [_held(e, spec, limits) for spec in files_of(target.artifacts, e.recipe)]
    facts = _facts(files)
    facts["figures"] |= {f"limit, {name}": value for name, value in limits.items()}
    found = partial(Finding, subject=f"target {target.name}", **facts)
    smaller = "Take a smaller student or a precision of fewer bits, or leave the requests of this target to the teacher."
    best = min(files, key=lambda f: (len(f.broken), len(f.doubtful), len(f.missing)))
    if best.broken:
        text = f"No file of the student keeps the limits of {target.name}. The best one, {best.name}: {'; '.join(best.broken)}."
        return found(severity="against", text=text, instead=smaller)
    if best.doubtful:
        text = f"No file of the student keeps the limits of {target.name} on this machine. {best.name}: {'; '.join(best.doubtful)}."
        return found(severity="warning", text=text, instead=smaller, command=_on_a_device(e))
    if best.missing:
        text = f"Files of {_sizes(files)} do not break the limits of {target.name}; not known yet: {', '.join(best.missing)}."
        return found(severity="unknown", text=text, command=_measuring(e, target, limits))
    return found(severity="ok", text=f"{best.name} keeps the limits of {target.name}, as far as it was measured.")


def _held(e: Evidence, spec: ArtifactSpec, limits: dict[str, float]) -> _File:
    made = next((a for a in e.summary.artifacts if a.name == spec.name), None) if e.summary is not None else None
    mib = (e.parameters["student"] * bits(spec.precision) / 8 if made is None else made.bytes) / _MIB
    file, here, there = _File(spec.name, mib, made is not None), _figures(made), _on_devices(e, spec.name)
    for name, most in limits.items():
        measured = [(figures[name], device) for device, figures in there if name in figures]
        if name == "peak_rss_mb" and mib > most:
            # An inference reads all weights.
            file.broken.append(f"its weights alone take {mib:.1f} MiB, and {name} is {most:g}")
        elif measured:
            least, device = min(measured)
            if least > most:
                file.broken.append(f"{name} {least:.4g} on {device}, and the limit is {most:g}")
        elif name not in here:
            file.missing.append(name)
        elif here[name] > most:
            file.doubtful.append(f"{name} {here[name]:.4g}, and the limit is {most:g}")
    return file


def _on_devices(e: Evidence, name: str) -> list[tuple[str, dict[str, float]]]:
    """The figures of valid measurements of a file on devices; this machine is none."""
    measured = [m for m in e.summary.devices if isinstance(m, Measurement) and m.artifact.name == name] if e.summary is not None else []
    return [(m.device.spec, _figures(m)) for m in measured if m.validity == "valid" and m.device.spec != _HERE]


def _figures(measured: Measurement | ArtifactResult | None) -> dict[str, float]:
    """What was measured, by the names of limits."""
    latency, load = (getattr(measured, name, None) for name in ("latency_ms", "load_ms"))
    figures = {f"{name}_ms": getattr(latency, name, None) for name in ("p50", "p95", "p99")}
    figures |= {"load_ms": getattr(load, "cold", None), "peak_rss_mb": getattr(measured, "peak_rss_mb", None)}
    figures["mj_per_inference"] = getattr(getattr(measured, "energy", None), "mj_per_inference", None)
    return {name: value for name, value in figures.items() if isinstance(value, float)}


def _measuring(e: Evidence, target: Target, limits: dict[str, float]) -> str:
    """The command that measures a student of the recipe's kind: before it is trained where there is one."""
    if e.summary is not None:
        return _on_a_device(e)
    model, median = getattr(e.recipe.student, "model", None), limits.get("p50_ms")
    if model is not None and median is not None and any(artifact.precision == "int8" for artifact in target.artifacts):
        return f"edgedistill students {model} --target {target.name} --max-ms {median:g}"
    return e.told("run")


def _on_a_device(e: Evidence) -> str:
    return f"edgedistill bench {e.run} --device DEVICE"
