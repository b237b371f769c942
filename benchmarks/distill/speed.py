"""Seconds of a distillation beside torchdistill's: `python benchmarks/distill/speed.py --torchdistill PYTHON > docs/benchmarks-speed.md`.

PYTHON is that of an environment with `pip install torchdistill==1.1.3 timm` and the same torch. Each way trains the same student from the
same images with half cross-entropy and half kd, in the same number of steps, in a process of its own, one after the other, in turns. The
images are a multiple of the batch: torchdistill fails where a batch has cached samples beside others that an earlier epoch left out.
About six minutes a repeat on one core.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

DATA = Path(__file__).parent.parent / "data" / "mnist10k.npz"
HALF = {"ce": {"weight": 0.5}, "kd": {"weight": 0.5}}
TEACHER, STUDENT = "resnet34", "mobilenetv4_conv_small_050"


def write_images(path: Path, count: int) -> None:
    """`count` images of MNIST, uint8 [N, 3, 32, 32], as the recipe would decode them."""
    arrays = np.load(DATA)
    images = np.pad(arrays["images"][:count], ((0, 0), (2, 2), (2, 2)))
    np.savez(path, images=np.repeat(images[:, None], 3, axis=1), labels=arrays["labels"][:count].astype(np.int64))


def distil(source: Path, folder: Path, epochs: int, way: str) -> float:
    """Seconds of training by this package: the student `alone`, or taught, the cache included where `folder` has none yet."""
    from edgedistill.distill import stages
    from edgedistill.distill.lesson import Lesson
    from edgedistill.recipe.schema import Recipe
    from edgedistill.tasks.image_classification.dataset import ImageDataset
    from edgedistill.tasks.image_classification.imageset import ImageSet
    from edgedistill.tasks.image_classification.models import signature
    from edgedistill.tasks.image_classification.recipe.data import Augment
    from edgedistill.tasks.image_classification.task import IMAGE_CLASSIFICATION
    from edgedistill.tasks.image_classification.teachers import ModuleTeacher, Outputs
    from edgedistill.teach.cache import compute
    from edgedistill.teach.signals import TeacherSignals

    recipe = Recipe.model_validate({
        "name": "speed", "data": {"image_size": 32, "views": 1, "augment": {}},
        "teacher": {"model": TEACHER}, "student": {"model": STUDENT},
        "distill": {"stages": [{"name": "align", "epochs": epochs, "losses": HALF}, {"name": "qat"}]},
    })  # fmt: skip
    arrays = np.load(source)
    train = np.arange(len(arrays["labels"]))
    classes = [str(number) for number in range(10)]
    images = ImageSet(
        "speed", classes, arrays["images"], arrays["labels"], {"train": train, "val": train[:64], "holdout": train[:0]}, "", {}
    )
    task, data = IMAGE_CLASSIFICATION, ImageDataset(images, Augment(), 0)
    lesson = Lesson(task, signature(32, len(classes)), data, 1, 64, 0)
    teacher = task.build(recipe.teacher, recipe, data.facts, stages.trained(folder))
    started = time.perf_counter()
    if way != "alone":
        logits = frozenset({"logits"})
        online = ModuleTeacher(teacher, logits, Outputs("t", None, classes))
        options: dict[str, Any] = {"signals": logits, "outputs": logits, "count": 1, "options": recipe.learning.cache, "batch_size": 64}
        cached = compute(lambda _: online, {}, data, folder=folder / "signals", **options)
        lesson = replace(lesson, signals=TeacherSignals([cached], [], None))
    with tempfile.TemporaryDirectory() as out:
        stages.train_float(recipe, lesson, Path(out), distilled=way != "alone")
    return time.perf_counter() - started


def main() -> None:
    """Take turns, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torchdistill", help="Python of the environment with torchdistill")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--images", type=int, default=1984)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        data, folder, way = arguments.child
        print(json.dumps(distil(Path(data), Path(folder), arguments.epochs, way)))
        return
    here = Path(__file__)
    taken: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as base:
        data = Path(base, "data.npz")
        write_images(data, arguments.images)

        def ours(folder: Path, way: str) -> list[str]:
            return [sys.executable, str(here), "--epochs", str(arguments.epochs), "--child", str(data), str(folder), way]

        def theirs(cache: Path | str) -> list[str]:
            loop = str(here.with_name("torchdistill_loop.py"))
            return [arguments.torchdistill, loop, str(data), str(cache), TEACHER, STUDENT, str(arguments.epochs)]

        ways: dict[str, Callable[[Path], list[str]]] = {
            "student alone": lambda f: ours(f / "ours", "alone"),
            "edgedistill, first run": lambda f: ours(f / "ours", "taught"),
            "edgedistill, warm cache": lambda f: ours(f / "ours", "taught"),
            "torchdistill": lambda f: theirs("-"),
            "torchdistill, its cache, first run": lambda f: theirs(f / "theirs"),
            "torchdistill, its cache, warm": lambda f: theirs(f / "theirs"),
        }
        for repeat in range(arguments.repeats):
            folder = Path(base, str(repeat))
            for name, command in ways.items():
                done = subprocess.run(command(folder), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
                taken.setdefault(name, []).append(float(done.stdout.splitlines()[-1]))
                print(f"{repeat} {name}: {taken[name][-1]:.1f} s", file=sys.stderr)
    threads = os.environ.get("OMP_NUM_THREADS", "as torch chooses")
    first, alone = median(taken["edgedistill, first run"]), median(taken["student alone"])
    print("# Time of a distillation\n\nWritten by `python benchmarks/distill/speed.py`, which says what is compared.\n")
    print(f"Teacher {TEACHER}, student {STUDENT}, {arguments.images} images of 32 pixels, {arguments.epochs} epochs, ", end="")
    print(f"{arguments.repeats} times in turns, on {platform.machine()}, threads: {threads}; ", end="")
    print("torchdistill 1.1.3, the last version with a cache.\n")
    print("| way | seconds, median | smallest to largest | by the student alone | by edgedistill's first run |")
    print("| --- | --- | --- | --- | --- |")
    for name, seconds in taken.items():
        middle = median(seconds)
        spread = f"{min(seconds):.1f} to {max(seconds):.1f}"
        print(f"| {name} | {middle:.1f} | {spread} | {middle / alone:.2f} | {middle / first:.2f} |")
    bound = median(taken["torchdistill"]) / alone
    print(f"\nThe student alone is what any way has to train: with this pair no cache is more than {bound:.1f} times faster ", end="")
    print("than torchdistill without.")


if __name__ == "__main__":
    main()
