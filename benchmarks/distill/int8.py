"""Int8 of four students on which quantization is known to fail: `python benchmarks/distill/int8.py [--out FOLDER] > PAGE`.

PAGE is docs/benchmarks-int8.md. The students have Hardswish and squeeze-excite, SiLU, layer norm and GELU, and attention. Each is distilled
in floating point, then quantized after training in four ways, and trained in int8 in two. What is in FOLDER is not done again;
`--only TEXT,..` does what contains one of the texts and writes no page. Everything computes on one thread.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from int8_page import print_page
from suite import IMAGE_CLASSIFICATION, Task, signals, stages
from torch import nn

from edgedistill.distill.lesson import Lesson
from edgedistill.quantize.after_training import WAYS, quantized
from edgedistill.quantize.state import convert
from edgedistill.recipe.schema import Recipe
from edgedistill.tasks.data import spread
from edgedistill.tasks.image_classification.dataset import ImageDataset
from edgedistill.tasks.image_classification.recipe.data import Augment
from edgedistill.tasks.modules import batches, in_order, predict


@dataclass(frozen=True)
class Plan:
    """How a student learns in floating point: epochs and learning rate, the images and the teacher, and arguments of its model."""

    epochs: int
    lr: float
    images: str = "signs"
    teacher: str = "resnet10t"
    arguments: dict[str, Any] = field(default_factory=dict)


SIDE, QAT_EPOCHS, CALIBRATION = 64, 3, 512
STUDENTS = {
    "mobilenetv3_small_100": Plan(24, 8e-3),
    "efficientnet_b0": Plan(14, 8e-3),
    "mobilevit_xxs": Plan(14, 3e-3),
    # From random weights it learns nothing of the signs in fourteen epochs.
    "convnext_atto": Plan(60, 2e-3, images="icons", teacher="test_resnet", arguments={"ls_init_value": 0.1}),
}
"""The students, by model of timm."""
DURING: dict[str, dict[str, Any]] = {"qat": {}, "qat-learned": {"ranges": "learned", "freeze_observers": 0.34}}
_LOSSES = {"ce": {"weight": 0.5}, "kd": {"weight": 0.5}}


class Student:
    """One of the students, trained in floating point once."""

    def __init__(self, model: str, folder: Path) -> None:
        self.model, self.plan, self.folder = model, STUDENTS[model], folder / model
        self.task = Task(self.plan.images, folder / "data", side=SIDE, teacher_model=self.plan.teacher)
        self.folder.mkdir(parents=True, exist_ok=True)

    def recipe(self, **qat: Any) -> Recipe:
        """The recipe, with fields of the stage qat."""
        finetune = {"name": "finetune", "epochs": self.plan.epochs, "lr": self.plan.lr, "losses": _LOSSES}
        stages_ = [finetune, {"name": "qat", "epochs": QAT_EPOCHS, "lr": 1e-4, "losses": _LOSSES, **qat}]
        plain = {"shift": 0.0, "rotate": 0.0, "scale": 0.0}
        setting = {
            "student": {"model": self.model, "arguments": self.plan.arguments},
            "distill": {"stages": stages_},
            "data": {"image_size": SIDE, "augment": plain},
        }
        return self.task.recipe(setting, 0)

    def lesson(self, recipe: Recipe) -> Lesson:
        """The images with the teacher's answers, which all students share."""
        lesson = self.task.lesson(recipe, Augment())
        return replace(lesson, signals=signals(self.task, recipe, lesson, self.task.folder / "signals" / self.task.name))

    def trained(self) -> nn.Module:
        """The student in floating point."""
        recipe = self.recipe()
        lesson = self.lesson(recipe)
        if stages.trained(self.folder) is None:
            stages.train_float(recipe, lesson, self.folder, distilled=True)
        return IMAGE_CLASSIFICATION.build(recipe.student, recipe, lesson.data.facts, stages.trained(self.folder))

    def shown(self) -> list[tuple[torch.Tensor, ...]]:
        """The images that show ranges."""
        data = self.lesson(self.recipe()).data
        train = data.indices["train"]
        return list(in_order(batches(data, train[spread(len(train), CALIBRATION)], 32), self.task.signature.forward))

    def after(self, way: str) -> nn.Module:
        """The student, quantized after training."""
        return quantized(self.trained(), self.task.signature, self.shown(), way).converted

    def during(self, way: str) -> nn.Module:
        """The student, trained in int8."""
        recipe, folder = self.recipe(**DURING[way]), self.folder / way
        folder.mkdir(exist_ok=True)
        stage = recipe.learning.qat
        assert stage is not None
        module = stages.prepared(self.trained(), self.task.signature, recipe, stage)
        stages.train_quantized(recipe, self.lesson(recipe), module, stage, folder, self.plan.epochs)
        return convert(stages.restored(module, folder).graph_module, self.task.signature).converted


def answers(model: nn.Module, task: Task) -> np.ndarray:
    """Which images of the holdout, and of those to tune by, the model gets right, and the class that it says, uint8 [2, N]."""
    own, tune = (ImageDataset(found, Augment(), 0) for found in (task.images, task.tuning))
    found = []
    for data, indices in ((own, own.indices["holdout"]), (tune, np.arange(len(tune)))):
        outputs = predict(model, batches(data, indices), task.signature.forward)
        found.append(np.stack([IMAGE_CLASSIFICATION.score(outputs, data.targets(indices)), outputs["logits"].argmax(1)]))
    return np.concatenate(found, axis=1).astype(np.uint8)


def done(student: Student, way: str) -> None:
    """Measure one way of one student, and keep which images are right, with the seconds of processor time."""
    started = time.process_time()
    model = student.trained() if way == "fp32" else student.during(way) if way in DURING else student.after(way)
    seconds = time.process_time() - started
    found = answers(model, student.task)
    np.save(student.folder / f"{way}.npy", found)
    (student.folder / f"{way}.json").write_text(json.dumps({"seconds": seconds}))
    print(f"{student.model} {way}: {found[0].mean():.1%} in {seconds:.0f} s", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing, and print the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/bench-int8"), help="folder of images, trainings and results")
    parser.add_argument("--only", help="texts, one of which is in STUDENT/WAY")
    parser.add_argument("--show", action="store_true", help="measure nothing; print the page of what there is")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    for model in STUDENTS:
        student = Student(model, given.out)
        for way in ("fp32", *WAYS, *DURING):
            wanted = given.only is None or any(text in f"{model}/{way}" for text in given.only.split(","))
            if wanted and not given.show and not (student.folder / f"{way}.json").exists():
                done(student, way)
    if given.only is None:
        print_page(given.out, list(STUDENTS), ("fp32", *WAYS, *DURING))


if __name__ == "__main__":
    main()
