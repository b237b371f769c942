"""Five tasks on which the kit's defaults are chosen and held against a plain loop: images, one teacher each, and what a training gives.

Everything computes on one thread, and time is processor time, since other work shares the machine.
"""

import tempfile
import time
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import images as drawn
import numpy as np
import plain_loop
import torch

from edgedistill.distill import stages
from edgedistill.distill.lesson import Lesson
from edgedistill.recipe.schema import Recipe
from edgedistill.signature import Signature
from edgedistill.tasks.image_classification import imageset, listing
from edgedistill.tasks.image_classification.dataset import ImageDataset
from edgedistill.tasks.image_classification.imageset import ImageSet
from edgedistill.tasks.image_classification.models import signature, to_unit
from edgedistill.tasks.image_classification.recipe.data import Augment, Data
from edgedistill.tasks.image_classification.task import IMAGE_CLASSIFICATION
from edgedistill.tasks.image_classification.teachers import ModuleTeacher, Outputs
from edgedistill.tasks.modules import batches, predict
from edgedistill.teach.cache import compute
from edgedistill.teach.signals import TeacherSignals

TEACHER = "test_resnet"
FLIPS = frozenset({"textures", "objects"})
"""Tasks in which left and right do not matter."""
_SEEN = Augment(shift=0.1, rotate=10.0, scale=0.1)
_TRAIN = {"epochs": 10, "lr": 3.0e-3, "warmup": 0.2}
_FEW = {"batch_size": 32}
"""The images are few."""
Setting = dict[str, Any]
"""Fields of `data` and `distill` that differ from the schema's defaults."""


@dataclass(frozen=True)
class Task:
    """A set of images of `side` pixels, with the teacher that was trained on it once; both are kept in `folder`."""

    name: str
    folder: Path
    side: int = 32
    teacher_model: str = TEACHER

    @cached_property
    def images(self) -> ImageSet:
        """Training, validation and holdout images."""
        return self._prepared("images", 0)

    @cached_property
    def tuning(self) -> ImageSet:
        """The images that settings are chosen by, all of them in `val`."""
        return self._prepared("tune", 1)

    def _prepared(self, kind: str, number: int) -> ImageSet:
        folder = self.folder / kind / self.name
        if not (folder / "data.json").exists():
            files = drawn.write(self.name, self.folder / "npz")
            data = Data.model_validate({
                "source": {"npz": str(files[number])}, "split": {"val": 0.5, "holdout": 0.0}, "image_size": self.side,
            })  # fmt: skip
            folder.mkdir(parents=True, exist_ok=True)
            listing.prepare(listing.listing(data), data, 0, folder)
        return imageset.load(folder)

    @property
    def signature(self) -> Signature:
        """One image in, a logit for each class out."""
        return signature(self.side, len(self.images.classes))

    @cached_property
    def teacher(self) -> Path:
        """The teacher's checkpoint."""
        folder = self.folder / "teachers" / self.name
        if stages.trained(folder) is None:
            folder.mkdir(parents=True, exist_ok=True)
            recipe = Recipe.model_validate({"name": "teacher", "data": _FEW, "teacher": {"model": self.teacher_model, "train": _TRAIN}})
            lesson = self.lesson(recipe, _SEEN.model_copy(update={"hflip": self.name in FLIPS}))
            stages.train_teacher(recipe.teacher, recipe, lesson, folder)
        return folder / stages.WEIGHTS

    def recipe(self, setting: Setting, seed: int) -> Recipe:
        """The schema's defaults with what a setting changes."""
        return Recipe.model_validate({
            "name": "bench", "seed": seed,
            "data": _FEW | setting.get("data", {}),
            "teacher": {"model": self.teacher_model, "checkpoint": str(self.teacher), "train": None},
            "student": setting["student"],
            "distill": setting.get("distill", {}),
        })  # fmt: skip

    def lesson(self, recipe: Recipe, augment: Augment) -> Lesson:
        """The images as a recipe teaches them, still without a teacher's signals."""
        data = ImageDataset(self.images, augment, recipe.seed)
        return Lesson(IMAGE_CLASSIFICATION, self.signature, data, recipe.data.views, recipe.data.batch_size, recipe.seed)

    def scores(self, model: torch.nn.Module) -> dict[str, float]:
        """The accuracy on val, on the holdout, and on the images to tune by."""
        own, tune = (ImageDataset(found, Augment(), 0) for found in (self.images, self.tuning))
        found = {}
        for split, data, indices in (
            ("val", own, own.indices["val"]),
            ("holdout", own, own.indices["holdout"]),
            ("tune", tune, np.arange(len(tune))),
        ):
            outputs = predict(model, batches(data, indices), self.signature.forward)
            found[split] = float(IMAGE_CLASSIFICATION.score(outputs, data.targets(indices)).mean())
        return found


def kit(task: Task, setting: Setting, seed: int, *, quantized: bool = False) -> dict[str, Any]:
    """Train the student as the kit does: `seconds` of processor time with the teacher's answers and views, and accuracies.

    quantized: train in int8 too, see `int8`, the accuracies of the integer program.
    """
    recipe = task.recipe(setting, seed)
    assert isinstance(recipe.data, Data)
    lesson = task.lesson(recipe, recipe.data.augment.model_copy(update={"hflip": task.name in FLIPS}))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        started = time.process_time()
        lesson = replace(lesson, signals=signals(task, recipe, lesson, folder / "signals"))
        trained = stages.train_float(recipe, lesson, folder, distilled=True)
        found: dict[str, Any] = {"seconds": time.process_time() - started}
        model = IMAGE_CLASSIFICATION.build(recipe.student, recipe, lesson.data.facts, stages.trained(folder))
        found |= task.scores(model)
        if quantized:
            found["int8"] = _int8(task, recipe, lesson, model, folder / "qat", len(trained.curve))
    return found


def signals(task: Task, recipe: Recipe, lesson: Lesson, folder: Path) -> TeacherSignals:
    """What the teacher says of the views that the recipe's stages see."""
    asked = frozenset().union(*(stage.losses.needs for stage in recipe.learning.stages))
    model = IMAGE_CLASSIFICATION.build(recipe.teacher, recipe, lesson.data.facts)
    online = ModuleTeacher(model, asked, Outputs("teacher", None, task.images.classes))
    options: dict[str, Any] = {"signals": asked, "outputs": frozenset({"logits"}), "count": recipe.data.views, "folder": folder}
    options |= {"options": recipe.learning.cache, "batch_size": recipe.data.batch_size}
    cached = compute(lambda _: online, {}, lesson.data, **options)
    return TeacherSignals([cached], [online], None)


def _int8(task: Task, recipe: Recipe, lesson: Lesson, model: torch.nn.Module, folder: Path, epochs: int) -> dict[str, float]:
    """The accuracies of the quantized state after quantization-aware training, and the seconds that took."""
    from edgedistill.quantize.state import convert

    folder.mkdir()
    stage = recipe.learning.qat
    assert stage is not None
    module = stages.prepared(model, task.signature, recipe, stage)
    started = time.process_time()
    stages.train_quantized(recipe, lesson, module, stage, folder, epochs)
    seconds = time.process_time() - started
    return task.scores(convert(stages.restored(module, folder).graph_module, task.signature).converted) | {"seconds": seconds}


def plain(task: Task, options: Setting, seed: int) -> dict[str, float]:
    """Train the student that the options name by the plain loop: `seconds` of processor time, and accuracies."""
    options = dict(options)
    recipe = task.recipe({"student": options.pop("student")}, seed)
    facts = task.lesson(recipe, Augment()).data.facts
    teacher, student = (IMAGE_CLASSIFICATION.build(config, recipe, facts) for config in (recipe.teacher, recipe.student))
    train, val = (
        (to_unit(task.images.images[chosen]), torch.from_numpy(task.images.labels[chosen]))
        for chosen in (task.images.indices[split] for split in ("train", "val"))
    )
    started = time.process_time()
    plain_loop.train(teacher, student, train, val, seed=seed, flip=task.name in FLIPS, **options)
    return {"seconds": time.process_time() - started} | task.scores(student.eval())
