"""Trains the three models of a run: the teacher, the control and the student, each from its stages."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from edgedistill.distill import checkpoint
from edgedistill.distill.lesson import Lesson, Stage, on_one_schedule
from edgedistill.distill.trainer import Options, fit
from edgedistill.files import canonical_hash, replacing, sha256_file
from edgedistill.progress import log
from edgedistill.quantize import qat_grid
from edgedistill.quantize.qat import QATModule, prepare_qat
from edgedistill.quantize.rewrite import plain_batchnorm
from edgedistill.quantize.scheme import traceable
from edgedistill.recipe.models import TeacherConfig, files_of
from edgedistill.recipe.schema import Recipe
from edgedistill.recipe.stages import QatStage
from edgedistill.records.steps import Trained
from edgedistill.signature import Signature

WEIGHTS = "model.safetensors"
_STATE = "checkpoint.safetensors"
Module = TypeVar("Module", bound=nn.Module)


def trained(folder: Path) -> Path | None:
    """The weights that a step saved into `folder`; None where it trained nothing."""
    path = folder / WEIGHTS
    return path if path.exists() else None


def train_teacher(config: TeacherConfig, recipe: Recipe, lesson: Lesson, folder: Path) -> Trained:
    """Train a teacher on the targets where the recipe says so, and save its weights; one that is given is only described."""
    if config.is_file:
        (file,) = files_of(config)
        return Trained(curve=[], sha256=sha256_file(file), bytes=file.stat().st_size)
    if config.only_writes:
        return Trained(curve=[], sha256=canonical_hash(config.model_dump(mode="json")))
    module = lesson.task.build(config, recipe, lesson.data.facts)
    plan = getattr(config, "train", None)
    if plan is None:
        return Trained(curve=[], sha256=weights_hash(module), **size_of(module))
    stage = Stage("train", plan.epochs, plan.lr, lesson.task.supervised(plan), plan.warmup)
    learning = recipe.learning
    options = Options(plan.weight_decay, precision=learning.precision, trackers=tuple(learning.trackers), threads=recipe.threads or "auto")
    curve = fit(module, lesson, [stage], name=config.name, path=folder / _STATE, options=options)
    return _save(lesson.task.core(module), folder, curve)


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


def train_float(recipe: Recipe, lesson: Lesson, folder: Path, *, distilled: bool) -> Trained:
    """Train the student's floating-point stages; without `distilled` the control: the same, on targets alone.

    Both start from the same weights and see the same samples in the same order for the same number of steps.
    """
    task = lesson.task
    module = task.build(recipe.student, recipe, lesson.data.facts)
    stages = [
        Stage(
            s.name,
            s.epochs,
            s.lr,
            s.losses if distilled else task.supervised(None),
            online=s.online,
            mixup=s.mixup and distilled,
            on_policy=s.on_policy if distilled else 0.0,
        )
        for s in recipe.learning.floating
    ]
    if recipe.learning.schedule == "joint":
        stages = on_one_schedule(stages)
    name = "student" if distilled else "control"
    if distilled and (warning := task.start(recipe, module)):
        log(f"warning: {warning}")
    options = replace(_options(recipe), ema=recipe.learning.ema, patience=recipe.learning.patience)
    return _save(task.core(module), folder, fit(module, lesson, stages, name=name, path=folder / _STATE, options=options))


def _options(recipe: Recipe) -> Options:
    plan = recipe.learning
    return Options(
        plan.weight_decay,
        plan.beta2,
        accumulate=plan.accumulate,
        precision=plan.precision,
        trackers=tuple(plan.trackers),
        threads=recipe.threads or "auto",
    )


def prepared(student: nn.Module, signature: Signature, recipe: Recipe, stage: QatStage) -> QATModule:
    """A trained `student` with fake quantization in it, for the stage qat of a recipe for int8. Raises UserError where that can't be."""
    with traceable(recipe.student.label):
        return prepare_qat(plain_batchnorm(student), signature, learned=stage.ranges == "learned")


def prepared_on_grid(student: nn.Module, lesson: Lesson, recipe: Recipe, stage: QatStage) -> nn.Module:
    """The same for a dynamic precision; `student` itself is changed."""
    with traceable(recipe.student.label):
        return qat_grid.prepare(lesson.task.quantizable(student), lesson.signature, stage.precision)


def train_quantized(recipe: Recipe, lesson: Lesson, module: nn.Module, stage: QatStage, folder: Path, first_epoch: int) -> Trained:
    """Train `module`, see `prepared` and `prepared_on_grid`, taught by the teacher's signals still; see `restored` for the result."""

    def freeze(fraction: float) -> None:
        if isinstance(module, QATModule):
            module.freeze(batchnorm=fraction >= stage.freeze_batchnorm, observers=fraction >= stage.freeze_observers)

    stages = [Stage(stage.name, stage.epochs, stage.lr, stage.losses, online=stage.online)]
    options = replace(_options(recipe), exact=True)
    curve = fit(module, lesson, stages, name="qat", path=folder / _STATE, options=options, first_epoch=first_epoch, at=freeze)
    return Trained.model_validate({"curve": curve})


def restored(module: Module, folder: Path) -> Module:
    """`module`, prepared as for `train_quantized`, as that trained it into `folder`, in evaluation mode."""
    checkpoint.restore(folder / _STATE, {"module": module})
    module.eval()
    return module


def _save(core: nn.Module, folder: Path, curve: list[dict[str, Any]]) -> Trained:
    from safetensors.torch import save_file

    tensors = {name: value.detach().clone().contiguous() for name, value in core.state_dict().items()}
    with replacing(folder / WEIGHTS) as temporary:
        save_file(tensors, temporary)
    facts = size_of(core) | {"bytes": (folder / WEIGHTS).stat().st_size}
    return Trained.model_validate({"curve": curve, "sha256": sha256_file(folder / WEIGHTS), **facts})
