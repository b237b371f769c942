"""Everything of a recipe that can be wrong is tried on a few samples before anything is trained, and all of it is told at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from edgedistill import storage, tasks
from edgedistill.backends import backend
from edgedistill.errors import EdgeDistillError, StorageFailed
from edgedistill.files import sha256_file
from edgedistill.packages import installed, missing_extra
from edgedistill.progress import log
from edgedistill.recipe.base import RecipeError
from edgedistill.recipe.losses import OUTPUTS
from edgedistill.recipe.models import files_of
from edgedistill.recipe.precisions import has_four_bits
from edgedistill.recipe.targets import load_target
from edgedistill.run import Run, Step

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from edgedistill.recipe.loading import LoadedRecipe
    from edgedistill.recipe.losses import Loss
    from edgedistill.recipe.schema import Recipe
    from edgedistill.signature import Signature
    from edgedistill.tasks.base import Task
    from edgedistill.tasks.data import Batch, Dataset

Made = TypeVar("Made")
_SAMPLES = 4


def check_names(loaded: LoadedRecipe) -> None:
    """Raise RecipeError where models of a recipe do not exist, or packages that it needs are missing: before the data are prepared.

    Files that cannot be made, since the package of their format is missing, are only warned of: the others are made.
    """
    from edgedistill.distill.tracking import check_installed

    recipe, wrong = loaded.recipe, _Mistakes()
    for field, said in tasks.task(recipe.task).named(recipe):
        wrong.add(field, said)
    if recipe.distill is not None:
        trackers = tuple(recipe.distill.trackers)
        wrong.attempt("distill.trackers", lambda: check_installed(trackers))
    wrong.tell(loaded)
    for text in not_made(recipe):
        log(f"warning: {text}")


def not_made(recipe: Recipe) -> list[str]:
    """A sentence for each format of the targets whose packages are not installed, and for a stage qat that no file of theirs takes."""
    texts: dict[str, None] = {}
    stage = recipe.distill.qat if recipe.distill else None
    shipped = {artifact.precision for target in recipe.targets for artifact in load_target(target).artifacts}
    if stage is not None and stage.precision != "int8" and not any(map(has_four_bits, shipped)):
        texts[f"the stage qat trains for {stage.precision}, and no target has a file of 4 bits"] = None
    for target in map(load_target, recipe.targets):
        for own in (backend(artifact.format) for artifact in target.artifacts):
            if missing := [name for name in own.packages if name not in installed(own.packages)]:
                texts[f"no {own.suffix} file can be made here, since {' and '.join(missing)} is not installed; the others are made"] = None
    return list(texts)


def step(run: Run, loaded: LoadedRecipe, data: Dataset) -> None:
    """The step `rehearsal`: try the models and losses of the recipe on samples of `data`. Raises RecipeError with all that is wrong."""
    from edgedistill.steps.teach import folder_facts
    from edgedistill.tasks.code import code_hash

    models = [config for _, config in loaded.recipe.models]
    files = [sha256_file(path) for config in models for path in files_of(config)]
    code = [code_hash(config.torch) for config in models if hasattr(config, "torch")]
    folders = [folder_facts(getattr(config, "hf", "")) for config in models]

    def work(_: Path) -> dict[str, Any]:
        import torch

        # A run that goes on later does not rehearse again, and trains the same.
        with torch.random.fork_rng():
            wrong = rehearse(loaded.recipe, data)
        wrong.tell(loaded)
        return {"models": len(models)}

    run.step(Step("rehearsal", [loaded.effective(), data.facts.sha256, files, code, folders]), work)


class _Mistakes:
    """What is wrong, each with its field, once."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []

    def add(self, field: str, said: str) -> None:
        """Note what is wrong with `field`."""
        # Some messages begin with the field themselves.
        said = said.removeprefix(f"{field}: ")
        if all(said != other for _, other in self.found):
            self.found.append((field, said))

    def attempt(self, field: str, work: Callable[[], Made]) -> Made | None:
        """What `work` gives; None where it fails, which is then noted. Raises StorageFailed: a full disk is no mistake of the recipe."""
        try:
            return work()
        except EdgeDistillError as error:
            if isinstance(error, StorageFailed):
                raise
            self.add(field, str(error))
        except ImportError as error:
            self.add(field, str(missing_extra(error.name or "") or error))
        except Exception as error:
            # Modules and losses of users and libraries raise whatever their code meets.
            if not isinstance(error, PermissionError) and (full := storage.failure_of(error)):
                raise full from error
            self.add(field, f"found {type(error).__name__}: {error}"[:500])
        return None

    def tell(self, loaded: LoadedRecipe) -> None:
        """Raise RecipeError where there is something to tell."""
        if self.found:
            raise RecipeError(loaded.path, [f"{loaded.place(field)}: {field}: {said}" for field, said in self.found])


def rehearse(recipe: Recipe, data: Dataset) -> _Mistakes:
    """Build every model, run it on a few samples, export those that are lowered, and compute every loss once."""
    task, wrong = tasks.task(recipe.task), _Mistakes()
    batch = data.batch(data.indices["train"][:_SAMPLES], None)
    signature = wrong.attempt("student", lambda: task.signature(recipe, data.facts))
    if signature is None:
        return wrong
    outputs = frozenset(spec.name for spec in signature.outputs)
    student = _student(task, recipe, data, signature, batch, wrong)
    asked = [(field, config) for field, config in recipe.models if field != "student" and not config.only_writes]
    told = {field: outputs if task.tells(config, recipe) else frozenset[str]() for field, config in asked}
    teachers = [_teacher(task, recipe, data, field, config, batch, told[field], wrong) for field, config in asked]
    if getattr(recipe.teacher, "lowered", False) and None not in teachers:
        teacher = task.build(task.unloaded(recipe.teacher), recipe, data.facts)
        wrong.attempt("teacher", lambda: _trace(teacher, signature, recipe.teacher.label, any_batch=False))
    wrong.attempt("teacher.merge", lambda: task.merger(recipe, data))
    # Several teachers give their outputs only, in the shape of any one of them.
    taught = (teachers[0] if teachers else {}) if None not in teachers else None
    if student is not None and taught is not None and recipe.distill is not None:
        _losses(recipe, batch, student, taught, len(data.indices["train"]), wrong)
    return wrong


def _student(task: Task, recipe: Recipe, data: Dataset, signature: Signature, batch: Batch, wrong: _Mistakes) -> dict[str, Tensor] | None:
    """The student's outputs of the batch and what losses watch; None where something of it is wrong."""
    before = len(wrong.found)
    module = wrong.attempt("student", lambda: task.build(task.unloaded(recipe.student), recipe, data.facts))
    if module is None:
        return None
    signals: dict[str, Tensor] = {}

    def take(names: set[str]) -> None:
        import torch

        taps = task.taps(module, signature, names)
        try:
            with torch.no_grad():
                signals.update(taps(batch.inputs))
        finally:
            taps.remove()

    watched = {signal: _layer(field, loss, "layer") for field, loss in _used(recipe) for signal in sorted(loss.watches)}
    _one_by_one(wrong, "student", set(), watched, take)
    if len(wrong.found) == before:
        wrong.attempt("student", lambda: _trace(module, signature, recipe.student.label, any_batch=True))
    stage = recipe.distill.qat if recipe.distill else None
    if len(wrong.found) == before and stage is not None and stage.precision != "int8":
        from edgedistill.quantize import qat_grid

        wrong.attempt("distill.stages", lambda: qat_grid.prepare(task.quantizable(module), signature, stage.precision))
    return signals if len(wrong.found) == before else None


def _trace(module: Module, signature: Signature, label: str, *, any_batch: bool) -> None:
    """Export a model as it will be when it is trained. Placing fake quantization, which takes seconds more, is left out."""
    from edgedistill.quantize.rewrite import plain_batchnorm
    from edgedistill.quantize.scheme import exported, traceable

    with traceable(label):
        exported(plain_batchnorm(module), signature, any_batch=any_batch)


def _teacher(
    task: Task, recipe: Recipe, data: Dataset, field: str, config: Any, batch: Batch, outputs: frozenset[str], wrong: _Mistakes
) -> dict[str, Tensor] | None:
    """The same of a teacher, and what losses compare with."""
    before = len(wrong.found)
    needs = {signal: _layer(at, loss, "teacher_layer") for at, loss in _used(recipe) for signal in loss.needs - outputs - {OUTPUTS}}
    signals: dict[str, Tensor] = {}

    def ask(names: set[str]) -> None:
        teacher = task.teacher(task.unloaded(config), recipe, data, None, sorted(names))
        signals.update({name: value.cpu() for name, value in teacher(batch.inputs).items()})

    _one_by_one(wrong, field, set(outputs), needs, ask)
    # What fails for the student too, which is made of the teacher, is noted only once.
    return signals if len(wrong.found) == before and signals else None


def _one_by_one(wrong: _Mistakes, field: str, outputs: set[str], layers: Mapping[str, str], ask: Callable[[set[str]], None]) -> None:
    """Ask a model for its `outputs` and signals of layers: all at once, and one after the other only to find out which is wrong.

    layers: the field that names each signal.
    """
    together = _Mistakes()
    together.attempt(field, lambda: ask(outputs | set(layers)))
    if not together.found:
        return
    before = len(wrong.found)
    wrong.attempt(field, lambda: ask(outputs))
    if len(wrong.found) == before:
        for signal, at in layers.items():
            wrong.attempt(at, lambda signal=signal: ask({signal}))  # type: ignore[misc]


def _losses(recipe: Recipe, batch: Batch, student: dict[str, Tensor], teacher: dict[str, Tensor], samples: int, wrong: _Mistakes) -> None:
    """Compute each loss of each stage by itself."""
    from edgedistill.distill.criterion import Criterion

    for number, stage in enumerate(recipe.learning.stages):
        for name in stage.losses.used():
            # The others of the stage would hide which one fails.
            alone = stage.losses.model_copy(update={other: None for other in stage.losses.used() if other != name})

            def compute(alone: Any = alone) -> None:
                criterion = Criterion([alone], student, teacher, samples)
                criterion(alone, student, batch, teacher)

            wrong.attempt(f"distill.stages.{number}.losses.{name}", compute)


def _used(recipe: Recipe) -> list[tuple[str, Loss]]:
    """Every loss of every stage, with its field."""
    stages = recipe.learning.stages
    return [
        (f"distill.stages.{number}.losses.{name}", loss)
        for number, stage in enumerate(stages)
        for name, loss in stage.losses.used().items()
    ]


def _layer(field: str, loss: Loss, name: str) -> str:
    """The field that names the layer of a loss, or the loss where none does."""
    return f"{field}.{name}" if getattr(loss, name, None) else field
