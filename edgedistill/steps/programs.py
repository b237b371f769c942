"""The step that saves the quantized state as programs for converters, and scores the rungs that PyTorch runs on val."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedistill import tasks
from edgedistill.progress import log
from edgedistill.records.steps import Programs
from edgedistill.run import Run, Step
from edgedistill.verify.stored import SAMPLES

if TYPE_CHECKING:
    from torch import nn

    from edgedistill.quantize.state import QuantizedState
    from edgedistill.recipe.schema import Recipe
    from edgedistill.signature import Signature
    from edgedistill.tasks.data import Dataset


def step(run: Run, inputs: list[Any], trained: Sequence[str], work: Callable[[Path], Programs]) -> None:
    """The step `programs`, from the data and what the steps `trained` left."""

    def begin(folder: Path) -> Programs:
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
            "edgedistill.quantize.qat_grid",
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
    quantized: QuantizedState | None,
    rungs: Mapping[str, nn.Module],
    simulated: Mapping[str, nn.Module],
    data: Dataset,
    signature: Signature,
    folder: Path,
    *,
    recipe: Recipe,
    batched: bool = True,
) -> Programs:
    """Save the student, rung `student` of `rungs`, and its quantized state as programs, and score everything on val.

    quantized: None where nothing is calibrated: then there is the program in floating point only.
    simulated: rungs between the student and the state. batched: whether the student takes several samples at once.
    """
    from edgedistill.distill.stages import weights_hash
    from edgedistill.export.programs import save_program
    from edgedistill.quantize.rewrite import plain_batchnorm
    from edgedistill.rows import read_rows
    from edgedistill.verify.mixed_precision import Exam, examine
    from edgedistill.verify.rungs import references, save_samples, score

    task, val, sizes = tasks.task(recipe.task), data.indices["val"], data.facts.sizes
    samples = folder / Path(SAMPLES["val"]).name
    save_samples(data, "val", signature, samples)
    integers = {} if quantized is None else references(quantized.converted)
    scored = score({**rungs, **simulated, **integers}, data, signature, "val", folder, batched=batched)
    student, deployed = task.deployed(rungs["student"], signature)
    save_program(plain_batchnorm(student), deployed, folder / "student-float.pt2", sizes=sizes)
    if quantized is None:
        return Programs(sha256=weights_hash(task.core(rungs["student"])), output_scale={}, batched=batched)
    exam = Exam(task, signature, read_rows(samples), scored["student"], data.targets(val), batched)
    quantized, sensitivity = examine(quantized, exam, scored["integer"], apply=recipe.quantize.mixed == "auto")
    if sensitivity.applied:
        score(references(quantized.converted), data, signature, "val", folder, batched=batched)
    save_program(quantized.converted, signature, folder / "student-converted.pt2", sizes=sizes)
    save_program(quantized.unfolded, signature, folder / "student-unfolded.pt2", sizes=sizes)
    save_program(quantized.converted, signature, folder / "student-reference.pt2", any_batch=batched, sizes=sizes)
    return Programs(sha256=quantized.sha256, output_scale=quantized.output_scale, batched=batched, sensitivity=sensitivity)
