"""The step that saves the quantized state as programs for converters, and scores the rungs that PyTorch runs on val."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedistill.progress import log
from edgedistill.run import Run, Step

if TYPE_CHECKING:
    from torch import nn

    from edgedistill.quantize.state import QuantizedState
    from edgedistill.signature import Signature
    from edgedistill.tasks.data import Dataset


def step(run: Run, inputs: list[Any], trained: Sequence[str], work: Callable[[Path], dict[str, Any]]) -> None:
    """The step `programs`, from the data and what the steps `trained` left."""

    def begin(folder: Path) -> dict[str, Any]:
        log("converting the student into its quantized state")
        return work(folder)

    step = Step(
        "programs",
        inputs,
        reads=("work/data", *(f"work/{name}" for name in trained)),
        code=(
            "edgedistill.steps.programs",
            "edgedistill.export.programs",
            "edgedistill.quantize.qat",
            "edgedistill.quantize.state",
            "edgedistill.quantize.temperature",
            "edgedistill.verify.mixed_precision",
            "edgedistill.verify.rungs",
            "edgedistill.tasks.modules",
        ),
        packages=("torch", "torchao"),
    )
    run.step(step, begin)


def save(
    quantized: QuantizedState,
    rungs: Mapping[str, nn.Module],
    simulated: Mapping[str, nn.Module],
    data: Dataset,
    signature: Signature,
    folder: Path,
    *,
    mixed: str,
) -> dict[str, Any]:
    """Save the student, rung `student` of `rungs`, and its quantized state as programs, and score everything on val.

    simulated: rungs between the student and the state. mixed: `quantize.mixed` of the recipe.
    """
    import numpy as np

    from edgedistill.export.programs import save_program
    from edgedistill.quantize.rewrite import plain_batchnorm
    from edgedistill.verify.mixed_precision import examine
    from edgedistill.verify.rungs import references, score

    val = data.indices["val"]
    score({**rungs, **simulated, **references(quantized.converted)}, data, signature, "val", folder)
    targets = data.targets(val)
    labels = targets[signature.outputs[0].name] if targets else None
    student, integer = (np.load(folder / f"{name}.npy") for name in ("student", "integer"))
    samples = np.load(folder / "val.npy", mmap_mode="r")
    quantized, sensitivity = examine(quantized, samples, labels, student, integer, apply=mixed == "auto")
    if sensitivity["applied"]:
        score(references(quantized.converted), data, signature, "val", folder)
    save_program(plain_batchnorm(rungs["student"]), signature, folder / "student-float.pt2")
    save_program(quantized.converted, signature, folder / "student-converted.pt2")
    save_program(quantized.unfolded, signature, folder / "student-unfolded.pt2")
    save_program(quantized.converted, signature, folder / "student-reference.pt2", any_batch=True)
    return {"sha256": quantized.sha256, "output_scale": quantized.output_scale, "sensitivity": sensitivity}
