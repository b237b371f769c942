"""What executes a file on this machine."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from edgedistill.backends import Adapter, backend
from edgedistill.errors import DeviceFailed
from edgedistill.recipe.precisions import is_static

if TYPE_CHECKING:
    from edgedistill.measure.runner.job_types import BenchSettings
    from edgedistill.recipe.schema import Measure
    from edgedistill.records import ArtifactSpec


def executor_of(spec: ArtifactSpec) -> Adapter:
    """What executes an artifact, its own runtime or an interpreter of this package. Raises DeviceFailed where nothing does."""
    # Where the twin of a format is float16, it computes so in every program that is not made of integers.
    float16 = spec.precision == "fp16" or (backend(spec.format).twin == "fp16" and not is_static(spec.precision))
    return executor(spec.format, spec.delegate, float16=float16)


def executor(format_: str, delegate: str | None = None, *, float16: bool = False) -> Adapter:
    """What executes a file of a format here. float16: whether it computes in float16. Raises DeviceFailed where nothing does."""
    adapter = backend(format_).executor(float16=float16, delegate=delegate)
    if adapter is None:
        raise DeviceFailed(f"nothing on this machine executes a file of {format_}{f' for {delegate}' if delegate else ''}")
    return adapter


def not_here(format_: str, delegate: str | None, path: Path) -> str | None:
    """Why nothing on this machine executes the file `path` of a delegate, or None. Raises DeviceFailed for a broken file."""
    if delegate is None:
        return None
    facts = backend(format_).delegates[delegate]
    if not facts.adapters:
        return facts.needs
    why = import_module(facts.refuses).why_not(path) if facts.refuses else None
    return f"{why}. {facts.needs}" if why else None


def sampling(measure: Measure) -> BenchSettings:
    """How long to sample, as `local.execute` takes it."""
    return {"warmup_s": measure.warmup_s, "relative_width": 0.01, "max_s": measure.max_s, "min_samples": measure.min_samples}
