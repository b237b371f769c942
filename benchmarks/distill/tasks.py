"""Tasks on which a teacher leads a student by far, and what is trained on them.

A teacher is trained on every label. Then, for each seed, students that differ only in what they minimise: the same initial weights, images,
order and number of steps. Accuracy is that of val and holdout together; nothing here chooses by either, and the temperature of
calibration is fitted on one of them and scored on the other. Each result is a step of a run folder, so that what was interrupted goes on.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgedistill.recipe.schema import Recipe
from edgedistill.run import Run, Step

MNIST = str(Path(__file__).parent.parent / "data" / "mnist10k.npz")
KD: dict[str, Any] = {"kd": {}}
SIGNALS = frozenset({"logits", "embedding", "features"})


@dataclass(frozen=True)
class Task:
    """Data, models and the length of training. labelled: how many training images keep their label for students, None for all;
    images: how many train at all."""

    data: dict[str, Any]
    teacher: dict[str, Any]
    student: dict[str, Any]
    epochs: int
    lr: float = 3.0e-3
    labelled: int | None = None
    images: int | None = None


_DIGITS = {"image_size": 32, "batch_size": 32, "augment": {"shift": 0.1, "rotate": 10.0, "scale": 0.1}}
_MNIST = {"source": {"npz": MNIST}, "image_size": 32, "batch_size": 64}
_HARD = {"shift": 0.25, "rotate": 45.0, "scale": 0.3, "erase": 0.5}


def _teacher(epochs: int) -> dict[str, Any]:
    return {"model": "test_resnet", "train": {"epochs": epochs, "lr": 3.0e-3, "warmup": 0.2}}


_STUDENT = {"model": "test_efficientnet"}
_NARROW = _STUDENT | {"arguments": {"channel_multiplier": 0.125}}
TASKS = {
    "few steps": Task(_DIGITS, _teacher(8), _STUDENT, 2),
    "few labels": Task(_MNIST | {"views": 3}, _teacher(3), _STUDENT, 3, labelled=100),
    "hard augmentation": Task(_MNIST | {"augment": _HARD, "views": 6}, _teacher(6), _STUDENT, 24, images=1500),
    "narrow student": Task(_MNIST | {"augment": _HARD, "views": 2}, _teacher(4), _NARROW, 6),
}


def seconds_of(work: Callable[[], Any]) -> float:
    """How long `work` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


class Bench:
    """One task and seed, with a teacher of its own or the one that is given: data, signals and students, each made once."""

    def __init__(self, task: Task, seed: int, folder: Path) -> None:
        from edgedistill.distill import stages
        from edgedistill.distill.lesson import Lesson
        from edgedistill.tasks.image_classification import imageset, listing
        from edgedistill.tasks.image_classification.dataset import ImageDataset
        from edgedistill.tasks.image_classification.models import signature
        from edgedistill.tasks.image_classification.recipe.data import Data
        from edgedistill.tasks.image_classification.task import IMAGE_CLASSIFICATION
        from edgedistill.tasks.image_classification.teachers import ModuleTeacher, Outputs
        from edgedistill.teach.cache import compute
        from edgedistill.teach.signals import TeacherSignals

        self.task, self.seed, self.run = task, seed, Run(folder)
        recipe = self.recipe(KD)
        data = recipe.data
        assert isinstance(data, Data)
        found = listing.listing(data)
        self.run.step(Step("data", [task.data, seed]), lambda f: listing.prepare(found, data, seed, f))
        self.images = imageset.load(self.run.work("data"))
        train = np.random.default_rng(seed).permutation(self.images.indices["train"])
        every = self.images.indices["train"]
        self.ports = ports = signature(self.images.images.shape[-1], len(self.images.classes))
        self.shown = shown = ImageDataset(self.images, data.augment, seed)
        whole = Lesson(IMAGE_CLASSIFICATION, ports, shown, recipe.data.views, recipe.data.batch_size, seed)
        self.teacher = self._trained("teacher", recipe, lambda f: stages.train_teacher(recipe.teacher, recipe, whole, f))
        model = IMAGE_CLASSIFICATION.build(recipe.teacher, recipe, shown.facts, stages.trained(self.run.work("teacher")))
        self.parameters = sum(p.numel() for p in model.parameters())
        outputs = Outputs("teacher", None, self.images.classes)
        online = ModuleTeacher(model, SIGNALS, outputs)

        labels = self.images.labels.copy()
        if task.labelled is not None:
            labels[train[task.labelled :]] = -1
        chosen = np.sort(train[: task.images]) if task.images else every
        images = replace(self.images, labels=labels, indices=self.images.indices | {"train": chosen})
        lessons = ImageDataset(images, data.augment, seed)
        self.lesson = replace(whole, data=lessons, with_targets_only=True)

        def answer(to: Path, signals: frozenset[str]) -> Any:
            options: dict[str, Any] = {"signals": signals, "outputs": frozenset({"logits"}), "count": recipe.data.views, "folder": to}
            options |= {"options": recipe.learning.cache, "batch_size": 64}
            return compute(lambda _: online, {"teacher": self.teacher["sha256"]}, lessons, **options)

        # The cost of the logits alone is what the default losses pay; features are for the losses that need them.
        self.teaching_s = self.run.step(
            Step("logits", [recipe.model_dump(mode="json")]), lambda f: seconds_of(lambda: answer(f, frozenset({"logits"})))
        )
        cached = answer(self.run.work("signals"), SIGNALS)
        self.taught = replace(self.lesson, with_targets_only=False, signals=TeacherSignals([cached], [online], None))
        predicted = labels.copy()
        predicted[chosen] = cached.batch(chosen, 0)["logits"].argmax(axis=1)
        self.predicted = replace(
            self.lesson, data=ImageDataset(replace(images, labels=predicted), data.augment, seed), with_targets_only=False
        )

    def recipe(self, losses: dict[str, Any] | list[dict[str, Any]], epochs: int | None = None) -> Recipe:
        """The recipe of one student: stages of losses, or a single one."""
        task = self.task
        plan = losses if isinstance(losses, list) else [{"name": "align", "losses": losses}]
        stages = [{"epochs": (epochs or task.epochs) // len(plan), "lr": task.lr, **stage} for stage in plan]
        return Recipe.model_validate({
            "name": "bench", "seed": self.seed, "data": task.data, "teacher": task.teacher, "student": task.student,
            "distill": {"stages": [*stages, {"name": "qat"}]},
        })  # fmt: skip

    def student(self, name: str, losses: Any, *, labels: str = "taught", epochs: int | None = None) -> dict[str, Any]:
        """Train the student `name` by losses, or by stages.

        labels: `taught` by the teacher, or a control: `true` ones, or those that the teacher `predicted`.
        """
        from edgedistill.distill import stages

        recipe = self.recipe(losses or KD, epochs)
        lesson = {"taught": self.taught, "true": self.lesson, "predicted": self.predicted}[labels]
        step = "".join(c if c.isalnum() else "-" for c in name)
        return self._trained(step, recipe, lambda f: stages.train_float(recipe, lesson, f, distilled=labels == "taught"))

    def _trained(self, step: str, recipe: Recipe, train: Callable[[Path], Any]) -> dict[str, Any]:
        """Train, and score on val and holdout: accuracy, calibration error before and after a temperature, seconds of training."""
        from scipy.special import softmax

        from edgedistill.distill import stages
        from edgedistill.tasks.classification.calibration_error import calibration_error
        from edgedistill.tasks.classification.temperature_scaling import fit_temperature
        from edgedistill.tasks.image_classification.task import IMAGE_CLASSIFICATION
        from edgedistill.tasks.modules import batches, predict

        def work(folder: Path) -> dict[str, Any]:
            seconds = seconds_of(lambda: train(folder))
            config = recipe.teacher if step == "teacher" else recipe.student
            model = IMAGE_CLASSIFICATION.build(config, recipe, self.shown.facts, stages.trained(folder))
            split = {name: self.images.indices[name] for name in ("val", "holdout")}
            logits = {name: predict(model, batches(self.shown, chosen), self.ports.forward)["logits"] for name, chosen in split.items()}
            labels = {name: self.images.labels[chosen] for name, chosen in split.items()}
            temperature = fit_temperature(logits["val"], labels["val"])
            both = np.concatenate(list(logits.values())), np.concatenate(list(labels.values()))
            from edgedistill.files import sha256_file

            return {
                "accuracy": float((both[0].argmax(axis=1) == both[1]).mean()),
                "ece": calibration_error(softmax(logits["holdout"], axis=1), labels["holdout"])["ece"],
                "calibrated_ece": calibration_error(softmax(logits["holdout"] / temperature, axis=1), labels["holdout"])["ece"],
                "seconds": seconds,
                "n": len(both[1]),
                "sha256": sha256_file(folder / stages.WEIGHTS),
            }

        return self.run.step(Step(step, [step, recipe.model_dump(mode="json"), self.task.labelled, self.task.images]), work)
