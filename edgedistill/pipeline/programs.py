"""The step that saves the quantized state as programs for converters, and scores the rungs that PyTorch runs on val."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedistill.progress import log
from edgedistill.run import Run

if TYPE_CHECKING:
    from torch import nn

    from edgedistill.quantize.state import QuantizedState
    from edgedistill.tasks.preprocessed import Preprocessed
    from edgedistill.teach.imageset import ImageSet

# What the programs are beside their inputs; another word makes them anew in runs of an older version.
_VERSION = "any batch"


def step(state: Run, inputs: list[Any], work: Callable[[Path], dict[str, Any]]) -> None:
    """The step `programs`: what was made of earlier programs is forgotten."""

    def begin(folder: Path) -> dict[str, Any]:
        log("converting the student into its quantized state")
        for later in ("export-", "val-", "ranges-", "bench-", "holdout"):
            state.forget(later)
        return work(folder)

    state.step("programs", [*inputs, _VERSION], begin)


def save(
    quantized: QuantizedState, rungs: Mapping[str, Preprocessed], simulated: Mapping[str, nn.Module], images: ImageSet, folder: Path
) -> dict[str, Any]:
    """Save the student, rung `student` of `rungs`, and its quantized state as programs, and score everything on val.

    simulated: rungs between the student and the state.
    """
    from edgedistill.export.programs import save_program
    from edgedistill.quantize.rewrite import plain_batchnorm
    from edgedistill.verify.rungs import references, score

    size = images.images.shape[-1]
    score({**rungs, **simulated, **references(quantized.converted)}, images, "val", folder)
    save_program(plain_batchnorm(rungs["student"]), size, folder / "student-float.pt2")
    save_program(quantized.converted, size, folder / "student-converted.pt2")
    save_program(quantized.unfolded, size, folder / "student-unfolded.pt2")
    save_program(quantized.converted, size, folder / "student-reference.pt2", any_batch=True)
    return {"sha256": quantized.sha256, "output_scale": quantized.output_scale}
