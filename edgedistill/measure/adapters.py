"""What executes a file on this machine."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedistill.backends import backends
from edgedistill.recipe.precisions import is_static

if TYPE_CHECKING:
    from edgedistill.recipe.schema import Measure
    from edgedistill.records import ArtifactSpec

ADAPTERS = {kind: one.adapters[0].module for kind, one in backends().items()}
FILE_ADAPTERS = {kind: module for kind, module in ADAPTERS.items() if kind != "coreml"}
"""What runs a file that is not of a run, by the format that `inspect` tells."""
# Rounds after each operation, so that what overflows on a phone does so here.
FLOAT16_COREML = "edgedistill.backends.coreml.mil.float16"
CORE_ML_DELEGATE = "edgedistill.backends.coreml.mil.delegate"


def adapter_of(spec: ArtifactSpec) -> str:
    """What executes the artifact, whether it is its own runtime or this package's executor of Core ML programs."""
    if spec.delegate == "coreml":
        return CORE_ML_DELEGATE
    # The int8 packages alone compute in float32.
    return core_ml(not is_static(spec.precision))[0] if spec.format == "coreml" else ADAPTERS[spec.format]


def core_ml(float16: bool) -> tuple[str, str]:
    """What executes a Core ML package that computes in float16 or not, and what it is called: Core ML where it is, on a Mac."""
    if platform.system() == "Darwin":
        return "edgedistill.backends.coreml.adapter", "own_runtime"
    return (FLOAT16_COREML, "mil_float16") if float16 else (ADAPTERS["coreml"], "mil_float64")


def not_here(delegate: str | None, path: Path) -> str | None:
    """Why nothing on this machine executes the .pte `path` of a delegate, or None. Raises DeviceFailed for a broken file."""
    from edgedistill.backends.delegation import delegation
    from edgedistill.recipe.precisions import NEEDS

    if delegate != "coreml":
        return NEEDS.get(delegate or "")
    found = delegation("executorch", path)
    left = sum(found["outside"].values())
    if found["partitions"] == 1 and not left:
        return None
    parts = f"Core ML is given {found['partitions']} parts and {left} operator(s) are left outside of them"
    return f"{parts}, so that no one program can be taken out and executed. {NEEDS['coreml']}"


def sampling(measure: Measure) -> dict[str, Any]:
    """How long to sample, as `local.execute` takes it."""
    return {**measure.model_dump(exclude={"threads"}), "relative_width": 0.01}
