"""Whether the student can keep the limits of its targets: by its files as they were measured, else by its parameters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from edgedistill.recipe.precisions import bits
from edgedistill.recipe.targets import Target, load_target
from edgedistill.records import ArtifactSpec, Latency
from edgedistill.records.advice import Finding
from edgedistill.records.measurements import Measurement
from edgedistill.steps.advise.evidence import Evidence
from edgedistill.steps.wanted import files_of

if TYPE_CHECKING:
    from edgedistill.records import ArtifactResult

_MIB = 2**20
_LATENCIES = ("p50", "p95", "p99")


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
    """A finding for each target of the recipe."""
    for target in map(load_target, e.recipe.targets):
        yield _target(e, target)


def _target(e: Evidence, target: Target) -> Finding:
    limits = target.device_budgets.model_dump(exclude_none=True)
    files = [_held(e, spec, limits) for spec in files_of(target.artifacts, e.recipe)]
    sizes = sorted(file.mib for file in files)
    found = partial(
        Finding,
        subject=f"target {target.name}",
        figures={f"MiB, {f.name}": round(f.mib, 3) for f in files} | {f"limit, {name}": value for name, value in limits.items()},
        source="files of the run" if all(f.measured for f in files) else "parameters of the student x bits of each precision",
    )
    said = f"{sizes[0]:.2f} to {sizes[-1]:.2f} MiB"
    if not limits:
        text = f"The target {target.name} sets no limits, so that nothing says whether the student fits; its files have about {said}."
        instead = "Write device_budgets into a target of your own: the latency and memory that the app can afford."
        return found(severity="unknown", text=text, instead=instead)
    smaller = "Take a smaller student or a precision of fewer bits, or leave the requests of this target to the teacher."
    best = min(files, key=lambda f: (len(f.broken), len(f.doubtful), len(f.missing)))
    if best.broken:
        text = f"No file of the student keeps the limits of {target.name}. The best one, {best.name}: {'; '.join(best.broken)}."
        return found(severity="against", text=text, instead=smaller)
    if best.doubtful:
        text = f"No file of the student keeps the limits of {target.name} on this machine. {best.name}: {'; '.join(best.doubtful)}."
        return found(severity="warning", text=text, instead=smaller, command=_on_a_device(e))
    if best.missing:
        text = f"Files of {said} do not break the limits of {target.name}; not known yet: {', '.join(best.missing)}."
        return found(severity="unknown", text=text, command=_measuring(e, target, limits))
    return found(severity="ok", text=f"{best.name} keeps the limits of {target.name}, as far as it was measured.")


def _held(e: Evidence, spec: ArtifactSpec, limits: dict[str, float]) -> _File:
    made = next((a for a in e.summary.artifacts if a.name == spec.name), None) if e.summary is not None else None
    mib = (e.parameters["student"] * bits(spec.precision) / 8 if made is None else made.bytes) / _MIB
    file = _File(spec.name, mib, made is not None)
    if (most := limits.get("peak_rss_mb")) is not None:
        peak = getattr(made, "peak_rss_mb", None)
        if mib > most:
            # What is read into memory is no smaller than its weights.
            file.broken.append(f"its weights alone take {mib:.1f} MiB, and peak_rss_mb is {most:g}")
        elif not isinstance(peak, float):
            file.missing.append("peak_rss_mb")
        elif peak > most:
            file.doubtful.append(f"peak memory {peak:.1f} MiB, and peak_rss_mb is {most:g}")
    devices = [m for m in e.summary.devices if isinstance(m, Measurement) and m.artifact.name == spec.name] if e.summary else []
    for name in _LATENCIES:
        if (most := limits.get(f"{name}_ms")) is not None:
            _timed(file, name, most, made, devices)
    file.missing += [name for name in limits if name in ("load_ms", "mj_per_inference")]
    return file


def _timed(file: _File, name: str, most: float, made: ArtifactResult | None, devices: list[Measurement]) -> None:
    """Hold a percentile of the latency to its limit: as devices measured it, else as this machine did."""
    on_devices = {m.device.spec: value for m in devices if isinstance(value := _percentile(m.latency_ms, name), float)}
    if on_devices:
        device, least = min(on_devices.items(), key=lambda pair: pair[1])
        if least > most:
            file.broken.append(f"{name} {least:.2f} ms on {device}, and {name}_ms is {most:g}")
        return
    here = None if made is None else _percentile(made.latency_ms, name)
    if here is None:
        file.missing.append(f"{name}_ms")
    elif here > most:
        file.doubtful.append(f"{name} {here:.2f} ms on this machine, and {name}_ms is {most:g}")


def _percentile(latency: object, name: str) -> float | None:
    value = getattr(latency, name) if isinstance(latency, Latency) else None
    return value if isinstance(value, float) else None


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
