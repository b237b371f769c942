"""The programs of post-training precisions: the float student with its weights on a grid, or calibrated, saved and scored on val."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edgedistill import tasks, threads
from edgedistill.files import sha256_file
from edgedistill.progress import log
from edgedistill.recipe.precisions import has_four_bits, is_dynamic, is_integer, is_static, is_wide, needs_program
from edgedistill.records.steps import Variant
from edgedistill.run import Run, Step
from edgedistill.steps.declared import program_files
from edgedistill.verify import stored

if TYPE_CHECKING:
    from torch import nn
    from torch.fx import GraphModule

    from edgedistill.quantize.state import QuantizedState
    from edgedistill.recipe.schema import Recipe
    from edgedistill.records import ArtifactSpec
    from edgedistill.signature import Signature
    from edgedistill.tasks.data import Dataset


def make(run: Run, recipe: Recipe, specs: list[ArtifactSpec]) -> dict[str, Variant]:
    """One step `program-PRECISION` for each precision of `specs` that needs one; returns their results by precision.

    Beside the program are the outputs of its rungs on val, see `verify.stored`:
    of the program itself; where activations are dynamic also of the two ways of rounding them.
    """

    def variant(precision: str) -> Variant:
        source = _source(run, precision)
        make = _wide if is_wide(precision) else _calibrated if is_static(precision) else _on_grid
        step = Step(
            f"program-{precision}",
            [precision, recipe.quantize.calibration if is_integer(precision) else None],
            reads=(*program_files(source), "work/data"),
            code=(
                "edgedistill.steps.variants",
                "edgedistill.export.programs",
                "edgedistill.quantize.grid",
                "edgedistill.quantize.int16",
                "edgedistill.quantize.after_training",
                "edgedistill.verify.dynamic",
                "edgedistill.verify.rungs",
                "edgedistill.tasks.modules",
            ),
            packages=("torch", "torchao"),
        )
        return Variant.model_validate(run.step(step, lambda folder: make(run, recipe, precision, folder)))

    return {precision: variant(precision) for precision in dict.fromkeys(s.precision for s in specs if needs_program(s.precision))}


def _source(run: Run, precision: str) -> str:
    """The program that one of `precision` is made of."""
    return stored.FOUR_BITS if has_four_bits(precision) and run.work(stored.FOUR_BITS).exists() else stored.FLOAT


def _on_grid(run: Run, recipe: Recipe, precision: str, folder: Path) -> Variant:
    from edgedistill.export.programs import load_signature, save_program
    from edgedistill.quantize.grid import put_on_grid
    from edgedistill.verify.rungs import load_converted

    log(f"putting the weights of the student on the grid of {precision}")
    source = run.work(_source(run, precision))
    graph = load_converted(source)
    weights = put_on_grid(graph, precision)
    signature = load_signature(source)
    save_program(graph, signature, folder / "student-float.pt2", sizes=stored.sizes(run))
    # The program has the batch that it is lowered for.
    _score(_rungs(graph, precision), run, recipe, signature, folder, batched=False)
    return Variant(sha256=sha256_file(folder / "student-float.pt2"), weights=weights)


def _score(rungs: Mapping[str, nn.Module], run: Run, recipe: Recipe, signature: Signature, folder: Path, *, batched: bool) -> None:
    """Save the outputs of `rungs` on val."""
    from edgedistill.verify.rungs import score

    score(rungs, _data(run, recipe), signature, "val", folder, batched=batched)


def _data(run: Run, recipe: Recipe) -> Dataset:
    """The samples of a run. Raises DamagedFile where they are not what was written: an export does not make them again."""
    run.check("data")
    return tasks.task(recipe.task).dataset(recipe, run.work("data"))


def _rungs(graph: GraphModule, precision: str) -> dict[str, nn.Module]:
    """What artifacts of `precision` are held to, by name."""
    from edgedistill.verify.dynamic import DynamicReference

    if not is_dynamic(precision):
        return {precision: graph}
    return {
        precision: DynamicReference(graph, tensors=False),
        f"{precision}-tensors": DynamicReference(graph, tensors=True),
        f"{precision}-unrounded": graph,
    }


def _wide(run: Run, recipe: Recipe, precision: str, folder: Path) -> Variant:
    from edgedistill.export.programs import load_signature
    from edgedistill.quantize import int16
    from edgedistill.steps.calibrate import calibration_samples, calibration_threads
    from edgedistill.tasks.modules import batches, in_order
    from edgedistill.verify.rungs import load_converted

    data = _data(run, recipe)
    source = run.work("programs", "student-float.pt2")
    signature = load_signature(source)
    shown, student = calibration_samples(recipe, data), load_converted(source)
    samples = in_order(batches(data, shown, 1), signature.forward)
    with threads.using(calibration_threads(recipe, data, student, signature, shown[:1])):
        quantized = int16.quantize(student, signature, samples)
    _save(quantized, signature, folder, data.facts.sizes)
    _score({precision: quantized.converted}, run, recipe, signature, folder, batched=False)
    return Variant(sha256=quantized.sha256, output_scale=quantized.output_scale)


def _save(quantized: QuantizedState, signature: Signature, folder: Path, sizes: Mapping[str, int]) -> None:
    from edgedistill.export.programs import save_program

    save_program(quantized.converted, signature, folder / "student-converted.pt2", sizes=sizes)
    save_program(quantized.unfolded, signature, folder / "student-unfolded.pt2", sizes=sizes)


def _calibrated(run: Run, recipe: Recipe, precision: str, folder: Path) -> Variant:
    from edgedistill.export.programs import load_signature
    from edgedistill.steps.calibrate import calibrated
    from edgedistill.steps.distill import shipped_rungs
    from edgedistill.verify.rungs import references

    run.check("student")
    data = _data(run, recipe)
    signature = load_signature(run.work("programs", "student-float.pt2"))
    student, batched = shipped_rungs(run, recipe, data.facts)["student"], run.result("programs")["batched"]
    quantized = calibrated(student, recipe, data, signature, precision.removeprefix("int8-"), batched=batched)
    assert quantized is not None
    _save(quantized, signature, folder, data.facts.sizes)
    rungs = {f"{precision}-{name}": rung for name, rung in references(quantized.converted).items()}
    _score(rungs, run, recipe, signature, folder, batched=batched)
    return Variant(sha256=quantized.sha256, output_scale=quantized.output_scale)
