"""Trains the three models of a run: the teacher, the control and the student, each from its stages."""

from pathlib import Path
from typing import Any

from torch import nn

from edgedistill.distill import checkpoint
from edgedistill.distill.trainer import Lesson, Stage, fit
from edgedistill.quantize.qat import QATModule, prepare_qat
from edgedistill.quantize.rewrite import Preprocessed, plain_batchnorm
from edgedistill.recipe.losses import CrossEntropy, Losses
from edgedistill.recipe.schema import Recipe, Student, Teacher
from edgedistill.recipe.stages import QatStage
from edgedistill.tasks.image_classification import build_model, load_checkpoint

WEIGHTS = "model.safetensors"
_STATE = "checkpoint.safetensors"


def model_of(config: Teacher | Student, recipe: Recipe, classes: int) -> Preprocessed:
    """The model that `config` names, with the recipe's normalisation in front; the same seed gives the same weights."""
    path = None if config.checkpoint is None else str(config.checkpoint)
    model = build_model(config.model, classes, checkpoint=path, pretrained=config.pretrained, seed=recipe.seed)
    return Preprocessed(model, tuple(recipe.data.mean), tuple(recipe.data.std)).eval()


def trained(config: Teacher | Student, recipe: Recipe, classes: int, folder: Path) -> Preprocessed:
    """The model that a step trained into `folder`, in evaluation mode."""
    wrapped = model_of(config.model_copy(update={"checkpoint": None, "pretrained": False}), recipe, classes)
    load_checkpoint(wrapped.model, folder / WEIGHTS, config.model)
    return wrapped


def train_teacher(recipe: Recipe, lesson: Lesson, folder: Path) -> dict[str, Any]:
    """Train the teacher on the labels where the recipe says so, and save its weights."""
    module = model_of(recipe.teacher, recipe, len(lesson.data.classes))
    curve: list[dict[str, Any]] = []
    if (plan := recipe.teacher.train) is not None:
        stage = Stage("train", plan.epochs, plan.lr, Losses(ce=CrossEntropy(label_smoothing=plan.label_smoothing)), plan.warmup)
        curve = fit(module, lesson, [stage], name="teacher", path=folder / _STATE, weight_decay=plan.weight_decay)
    return _save(module, folder, curve)


def train_float(recipe: Recipe, lesson: Lesson, folder: Path, *, distilled: bool) -> dict[str, Any]:
    """Train the student's floating-point stages; without `distilled` the control: the same, on cross-entropy alone.

    Both start from the same weights and see the same images in the same order for the same number of steps.
    """
    module = model_of(recipe.student, recipe, len(lesson.data.classes))
    stages = [
        Stage(s.name, s.epochs, s.lr, s.losses if distilled else Losses(ce=CrossEntropy()))
        for s in recipe.distill.stages
        if not isinstance(s, QatStage)
    ]
    name = "student" if distilled else "control"
    return _save(module, folder, fit(module, lesson, stages, name=name, path=folder / _STATE, weight_decay=recipe.distill.weight_decay))


def prepared(recipe: Recipe, student: nn.Module) -> QATModule:
    """A trained `student` with fake quantization in it."""
    return prepare_qat(plain_batchnorm(student), recipe.data.image_size)


def train_quantized(recipe: Recipe, lesson: Lesson, module: QATModule, folder: Path, first_epoch: int) -> dict[str, Any]:
    """Train `module`, see `prepared`, taught by the teacher's signals still; see `restored` for the result."""
    stage = next(s for s in recipe.distill.stages if isinstance(s, QatStage))

    def freeze(fraction: float) -> None:
        module.freeze(batchnorm=fraction >= stage.freeze_batchnorm, observers=fraction >= stage.freeze_observers)

    stages = [Stage(stage.name, stage.epochs, stage.lr, stage.losses)]
    options: dict[str, Any] = {"weight_decay": recipe.distill.weight_decay, "first_epoch": first_epoch, "at": freeze}
    return {"curve": fit(module, lesson, stages, name="qat", path=folder / _STATE, **options)}


def restored(module: QATModule, folder: Path) -> QATModule:
    """`module`, see `prepared`, as `train_quantized` trained it into `folder`, in evaluation mode."""
    checkpoint.restore(folder / _STATE, module)
    module.eval()
    return module


def _save(module: Preprocessed, folder: Path, curve: list[dict[str, Any]]) -> dict[str, Any]:
    from safetensors.torch import save_file

    from edgedistill.files import replacing, sha256_file

    # The weights of the timm model alone, so that timm loads the file.
    tensors = {name: value.detach().clone().contiguous() for name, value in module.model.state_dict().items()}
    with replacing(folder / WEIGHTS) as temporary:
        save_file(tensors, temporary)
    parameters = sum(p.numel() for p in module.model.parameters())
    return {"curve": curve, "sha256": sha256_file(folder / WEIGHTS), "parameters": parameters, "bytes": (folder / WEIGHTS).stat().st_size}
