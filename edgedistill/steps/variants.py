"""The programs of post-training precisions: the float student with its weights on a grid, or calibrated, saved and scored on val."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedistill.files import sha256_file
from edgedistill.progress import log
from edgedistill.recipe.precisions import is_dynamic, is_integer, is_static, is_wide, needs_program
from edgedistill.run import Run, Step
from edgedistill.steps.declared import VAL_SAMPLES, program_files

if TYPE_CHECKING:
    from torch import nn
    from torch.fx import GraphModule

    from edgedistill.quantize.state import QuantizedState
    from edgedistill.recipe.schema import Recipe
    from edgedistill.records import ArtifactSpec
    from edgedistill.signature import Signature


def make(run: Run, recipe: Recipe, specs: list[ArtifactSpec]) -> dict[str, Any]:
    """One step `program-PRECISION` for each precision of `specs` that needs one; returns their results by precision.

    A result: `sha256` of the program `student-float.pt2`, and `weights`, how many were stored by which scheme; or of a calibrated
    precision those of the quantized state. Beside the program are the logits of its rungs on val, RUNG.npy float32 [N, classes]: of the
    program itself, or where activations are dynamic of the two ways of rounding.
    """

    def one(precision: str) -> Any:
        make = _wide if is_wide(precision) else _calibrated if is_static(precision) else _on_grid
        step = Step(
            f"program-{precision}",
            [precision, recipe.quantize.calibration if is_integer(precision) else None],
            reads=(*program_files("programs/student-float.pt2"), VAL_SAMPLES, *(("work/data",) if is_integer(precision) else ())),
            code=(
                "edgedistill.steps.variants",
                "edgedistill.export.programs",
                "edgedistill.quantize.grid",
                "edgedistill.quantize.int16",
                "edgedistill.quantize.static",
                "edgedistill.verify.dynamic",
                "edgedistill.verify.rungs",
            ),
            packages=("torch", "torchao"),
        )
        return run.step(step, lambda folder: make(run, recipe, precision, folder))

    return {precision: one(precision) for precision in dict.fromkeys(s.precision for s in specs if needs_program(s.precision))}


def _on_grid(run: Run, recipe: Recipe, precision: str, folder: Path) -> dict[str, Any]:
    import numpy as np

    from edgedistill.export.programs import load_signature, save_program
    from edgedistill.quantize.grid import put_on_grid
    from edgedistill.tasks.image_classification.models import predict
    from edgedistill.verify.rungs import load_converted

    log(f"putting the weights of the student on the grid of {precision}")
    source = run.work("programs", "student-float.pt2")
    graph = load_converted(source)
    weights = put_on_grid(graph, precision)
    images = np.load(run.work("programs", "val.npy"), mmap_mode="r")
    save_program(graph, load_signature(source), folder / "student-float.pt2")
    for name, rung in _rungs(graph, precision).items():
        # The program has the batch that it is lowered for.
        np.save(folder / f"{name}.npy", predict(rung, images, batch_size=1))
    return {"sha256": sha256_file(folder / "student-float.pt2"), "weights": weights}


def _rungs(graph: GraphModule, precision: str) -> dict[str, nn.Module]:
    """What artifacts of `precision` are held to, by name."""
    from edgedistill.verify.dynamic import DynamicReference

    if not is_dynamic(precision):
        return {precision: graph}
    return {precision: DynamicReference(graph, tensors=False), f"{precision}-tensors": DynamicReference(graph, tensors=True)}


def _wide(run: Run, recipe: Recipe, precision: str, folder: Path) -> dict[str, Any]:
    import numpy as np
    import torch

    from edgedistill.export.programs import load_signature
    from edgedistill.quantize import int16
    from edgedistill.steps.quantize import calibration_images
    from edgedistill.tasks.image_classification import imageset
    from edgedistill.tasks.image_classification.models import predict
    from edgedistill.verify.rungs import load_converted

    images = imageset.load(run.work("data"))
    shown = calibration_images(recipe, images)
    samples = ((torch.from_numpy(image[None]).float().div_(255),) for image in shown)
    source = run.work("programs", "student-float.pt2")
    quantized = int16.quantize(load_converted(source), load_signature(source), samples)
    _save(quantized, load_signature(source), folder)
    val = np.load(run.work("programs", "val.npy"), mmap_mode="r")
    np.save(folder / f"{precision}.npy", predict(quantized.converted, val, batch_size=1))
    return {"sha256": quantized.sha256, "output_scale": quantized.output_scale}


def _save(quantized: QuantizedState, signature: Signature, folder: Path) -> None:
    from edgedistill.export.programs import save_program

    save_program(quantized.converted, signature, folder / "student-converted.pt2")
    save_program(quantized.unfolded, signature, folder / "student-unfolded.pt2")


def _calibrated(run: Run, recipe: Recipe, precision: str, folder: Path) -> dict[str, Any]:
    import numpy as np

    from edgedistill.export.programs import load_signature
    from edgedistill.steps.distill import shipped_rungs
    from edgedistill.steps.quantize import calibrated
    from edgedistill.tasks.image_classification import imageset
    from edgedistill.tasks.image_classification.models import predict
    from edgedistill.verify.rungs import references

    images = imageset.load(run.work("data"))
    signature = load_signature(run.work("programs", "student-float.pt2"))
    student = shipped_rungs(run, recipe, len(images.classes))["student"]
    quantized = calibrated(student, recipe, images, int(signature.outputs[0].shape[-1]))
    _save(quantized, signature, folder)
    val = images.images[images.indices["val"]]
    for name, rung in references(quantized.converted).items():
        np.save(folder / f"{precision}-{name}.npy", predict(rung, val))
    return {"sha256": quantized.sha256, "output_scale": quantized.output_scale}
