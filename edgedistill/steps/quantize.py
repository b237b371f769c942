"""From a recipe that distils nothing to a quantized state: data, the trained student as it is, calibration, programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedistill.errors import UserError
from edgedistill.files import canonical_hash
from edgedistill.progress import log
from edgedistill.run import Run, Step
from edgedistill.steps import programs
from edgedistill.steps.declared import MADE_WITH
from edgedistill.steps.distill import float_rungs, prepared_data

if TYPE_CHECKING:
    import numpy as np

    from edgedistill.quantize.state import QuantizedState
    from edgedistill.recipe.loading import LoadedRecipe
    from edgedistill.recipe.schema import Recipe
    from edgedistill.tasks.image_classification.imageset import ImageSet
    from edgedistill.tasks.image_classification.preprocessed import Preprocessed

_FEW_STEPS = 4.0
_BATCH = 32


def quantize(run: Run, loaded: LoadedRecipe) -> None:
    """Steps data, student and programs."""
    from edgedistill.tasks.image_classification import imageset

    recipe = loaded.recipe
    prepared_data(run, loaded)
    images = imageset.load(run.work("data"))
    step = Step("student", _identity(recipe), reads=("work/data",), noted=MADE_WITH)
    student = run.step(step, lambda _: _examined(recipe, images.classes))

    def work(folder: Path) -> dict[str, Any]:
        rungs = float_rungs(run, recipe, len(images.classes))
        quantized = calibrated(rungs["student"], recipe, images, run.result("student")["outputs"])
        done = programs.save(quantized, rungs, {}, images, folder, mixed=recipe.quantize.mixed)
        _warn_where_outputs_are_constant(folder / "student.npy", quantized.output_scale["logits"])
        return done | {"temperature": {"student": 1.0, "int8": 1.0}}

    programs.step(run, [student["sha256"], recipe.quantize.model_dump()], ["student"], work)


def calibration_images(recipe: Recipe, images: ImageSet) -> np.ndarray:
    """The training images that show ranges of activations, uint8 [N, 3, S, S], spread evenly."""
    from edgedistill.tasks.image_classification import imageset

    train = images.indices["train"]
    shown = images.images[train[imageset.spread(len(train), recipe.quantize.calibration)]]
    log(f"calibrating on {len(shown)} images")
    return shown


def calibrated(student: Preprocessed, recipe: Recipe, images: ImageSet, outputs: int) -> QuantizedState:
    """The quantized state of a trained `student` that gives `outputs` logits, with ranges from the recipe's number of training images."""
    from edgedistill.quantize.rewrite import plain_batchnorm
    from edgedistill.quantize.state import convert
    from edgedistill.quantize.static import calibrate
    from edgedistill.tasks.image_classification.models import signature, to_unit

    shown = calibration_images(recipe, images)
    ports = signature(images.images.shape[-1], outputs)
    batches = ((to_unit(shown[start : start + _BATCH]),) for start in range(0, len(shown), _BATCH))
    try:
        observed = calibrate(plain_batchnorm(student), ports, batches)
    except Exception as error:
        # torch.export meets whatever a model's code does.
        raise UserError(f"{recipe.student.label}: torch.export or PT2E can't take the model ({type(error).__name__}: {error})") from error
    return convert(observed, ports)


def _identity(recipe: Recipe) -> str:
    """Changes with whatever makes the student another one."""
    from edgedistill.files import sha256_file
    from edgedistill.recipe.student import TorchStudent
    from edgedistill.teach.teachers import code_hash

    config = recipe.student
    code = code_hash(config) if isinstance(config, TorchStudent) else None
    weights = None if config.checkpoint is None else sha256_file(config.checkpoint)
    return canonical_hash([config.model_dump(mode="json"), code, weights, recipe.data.mean, recipe.data.std, recipe.seed])


def _examined(recipe: Recipe, classes: list[str]) -> dict[str, Any]:
    """What the student is; UserError unless it gives logits, one for each class where the images have classes."""
    from edgedistill.distill import stages

    module = stages.student_of(recipe, len(classes))
    outputs = _outputs(module, recipe.student.label, recipe.data.image_size)
    if classes and outputs != len(classes):
        todo = "Name the folders of images after the classes, one for each output, or put the images into one folder without labels"
        raise UserError(f"{recipe.student.label} gives {outputs} logits, and the images are of {len(classes)} classes. {todo}")
    return {"curve": [], "outputs": outputs, "sha256": stages.weights_hash(module.model), **stages.size_of(module.model)}


def _outputs(module: Preprocessed, label: str, size: int) -> int:
    import torch

    shape = f"[2, 3, {size}, {size}]"
    try:
        with torch.no_grad():
            answer = module(torch.zeros(2, 3, size, size))
    except Exception as error:
        raise UserError(f"{label} failed on images {shape} ({type(error).__name__}: {error}); is the image size right?") from error
    if not isinstance(answer, torch.Tensor) or answer.ndim != 2:
        found = tuple(answer.shape) if isinstance(answer, torch.Tensor) else type(answer).__name__
        raise UserError(f"{label} gave {found} for images {shape}, expected one tensor of logits [2, classes]")
    return answer.shape[1]


def _warn_where_outputs_are_constant(logits: Path, output_scale: float) -> None:
    import numpy as np

    steps = float(np.load(logits).std(axis=0).max()) / output_scale
    if steps < _FEW_STEPS:
        log(f"warning: the logits move by {steps:.1f} int8 steps between images: an untrained model? Verification then says little")
