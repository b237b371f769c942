"""Trains the three models of a run: the teacher, the control and the student, each from its stages."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgedistill.distill import checkpoint
from edgedistill.distill.lesson import Lesson, Stage
from edgedistill.distill.trainer import Options, fit
from edgedistill.files import replacing, sha256_file
from edgedistill.progress import log
from edgedistill.quantize.qat import QATModule, prepare_qat
from edgedistill.quantize.rewrite import plain_batchnorm
from edgedistill.recipe.losses import CrossEntropy, Losses
from edgedistill.recipe.schema import Recipe
from edgedistill.recipe.stages import QatStage
from edgedistill.recipe.student import TorchStudent
from edgedistill.recipe.teachers import FileTeacher, HuggingFaceTeacher, TimmTeacher, TorchTeacher
from edgedistill.tasks.image_classification.activations import unfused
from edgedistill.tasks.image_classification.models import build_model, load_checkpoint, signature
from edgedistill.tasks.image_classification.preprocessed import Preprocessed
from edgedistill.teach.teachers import build_module, torch_module

WEIGHTS = "model.safetensors"
_STATE = "checkpoint.safetensors"


TorchModel = TimmTeacher | HuggingFaceTeacher | TorchTeacher
Member = TorchModel | FileTeacher


def student_of(recipe: Recipe, classes: int, folder: Path | None = None) -> Preprocessed:
    """The recipe's student with the normalisation in front, as it starts, or as a step trained it into `folder`; in evaluation mode.

    The same seed gives the same weights.
    """
    config = recipe.student
    if isinstance(config, TorchStudent):
        torch.manual_seed(recipe.seed)
        return Preprocessed(torch_module(config, "student"), tuple(recipe.data.mean), tuple(recipe.data.std)).eval()
    start = {} if folder else {"checkpoint": None if config.checkpoint is None else str(config.checkpoint), "pretrained": config.pretrained}
    shape = {"arguments": config.arguments, "activation": config.activation}
    model = build_model(config.model, classes, seed=recipe.seed, **start, **shape)  # type: ignore[arg-type]
    if folder is not None:
        load_checkpoint(model, folder / WEIGHTS, config.model)
    return Preprocessed(model, tuple(recipe.data.mean), tuple(recipe.data.std)).eval()


def teacher_of(config: TorchModel, recipe: Recipe, classes: list[str], folder: Path) -> nn.Module:
    """The module of a teacher as its step left it in `folder`, in evaluation mode."""
    if not (folder / WEIGHTS).exists():
        return build_module(config, recipe.data, classes, recipe.seed)
    start = {"checkpoint": None, "pretrained": False} if isinstance(config, TimmTeacher) else {}
    module = build_module(config.model_copy(update=start), recipe.data, classes, recipe.seed)
    load_checkpoint(module.model, folder / WEIGHTS, config.label)  # type: ignore[arg-type]
    return module


def train_teacher(config: Member, recipe: Recipe, lesson: Lesson, folder: Path) -> dict[str, Any]:
    """Train a teacher on the labels where the recipe says so, and save its weights; one that is given is only described."""
    if isinstance(config, FileTeacher):
        return {"curve": [], "sha256": sha256_file(config.file), "parameters": None, "bytes": config.file.stat().st_size}
    module = build_module(config, recipe.data, lesson.data.classes, recipe.seed)
    plan = None if isinstance(config, TorchTeacher) else config.train
    if plan is None:
        return {"curve": [], "sha256": weights_hash(module), **size_of(module)}
    stage = Stage("train", plan.epochs, plan.lr, Losses(ce=CrossEntropy(label_smoothing=plan.label_smoothing)), plan.warmup)
    options = Options(plan.weight_decay, precision=recipe.learning.precision, trackers=tuple(recipe.learning.trackers))
    curve = fit(module, lesson, [stage], name=config.name, path=folder / _STATE, options=options)
    return _save(module, folder, curve)


def weights_hash(module: nn.Module) -> str:
    """SHA-256 over the names and values of a module's parameters and buffers."""
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(name.encode() + value.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()


def size_of(module: nn.Module) -> dict[str, int]:
    """How many parameters a module has, and the bytes of them and its buffers."""
    values = list(module.state_dict().values())
    return {"parameters": sum(p.numel() for p in module.parameters()), "bytes": sum(v.numel() * v.element_size() for v in values)}


def train_float(recipe: Recipe, lesson: Lesson, folder: Path, *, distilled: bool) -> dict[str, Any]:
    """Train the student's floating-point stages; without `distilled` the control: the same, on cross-entropy alone.

    Both start from the same weights and see the same images in the same order for the same number of steps.
    """
    module = student_of(recipe, len(lesson.data.classes))
    stages = [
        Stage(s.name, s.epochs, s.lr, s.losses if distilled else Losses(ce=CrossEntropy()), online=s.online, mixup=s.mixup and distilled)
        for s in recipe.learning.stages
        if not isinstance(s, QatStage)
    ]
    name = "student" if distilled else "control"
    if distilled and (found := unfused(module)):
        kinds = ", ".join(f"{count} {kind}" for kind, count in found.items())
        log(f"warning: {recipe.student.label} has {kinds}, which int8 runtimes do not fuse; student.activation: relu6 replaces them")
    options = replace(_options(recipe), ema=recipe.learning.ema, patience=recipe.learning.patience)
    return _save(module, folder, fit(module, lesson, stages, name=name, path=folder / _STATE, options=options))


def _options(recipe: Recipe) -> Options:
    plan = recipe.learning
    return Options(plan.weight_decay, accumulate=plan.accumulate, precision=plan.precision, trackers=tuple(plan.trackers))


def prepared(recipe: Recipe, student: nn.Module, classes: int) -> QATModule:
    """A trained `student` of `classes` logits with fake quantization in it."""
    return prepare_qat(plain_batchnorm(student), signature(recipe.data.image_size, classes))


def train_quantized(recipe: Recipe, lesson: Lesson, module: QATModule, folder: Path, first_epoch: int) -> dict[str, Any]:
    """Train `module`, see `prepared`, taught by the teacher's signals still; see `restored` for the result."""
    stage = next(s for s in recipe.learning.stages if isinstance(s, QatStage))

    def freeze(fraction: float) -> None:
        module.freeze(batchnorm=fraction >= stage.freeze_batchnorm, observers=fraction >= stage.freeze_observers)

    stages = [Stage(stage.name, stage.epochs, stage.lr, stage.losses)]
    options = replace(_options(recipe), exact=True)
    return {"curve": fit(module, lesson, stages, name="qat", path=folder / _STATE, options=options, first_epoch=first_epoch, at=freeze)}


def restored(module: QATModule, folder: Path) -> QATModule:
    """`module`, see `prepared`, as `train_quantized` trained it into `folder`, in evaluation mode."""
    checkpoint.restore(folder / _STATE, {"module": module})
    module.eval()
    return module


def _save(module: nn.Module, folder: Path, curve: list[dict[str, Any]]) -> dict[str, Any]:
    from safetensors.torch import save_file

    inner = module.model
    # The weights of the inner model alone, so that timm or transformers load the file.
    tensors = {name: value.detach().clone().contiguous() for name, value in inner.state_dict().items()}  # type: ignore[operator, union-attr]
    with replacing(folder / WEIGHTS) as temporary:
        save_file(tensors, temporary)
    return {"curve": curve, "sha256": sha256_file(folder / WEIGHTS), **size_of(inner), "bytes": (folder / WEIGHTS).stat().st_size}  # type: ignore[arg-type]
