"""How much of the gap between control and teacher each loss closes: `python benchmarks/distill.py > docs/benchmarks-distill.md`.

For each seed: one teacher, two controls (the student alone on the labels; the student alone on the teacher's own predictions for the same
images) and one student for each loss, all from the same initial weights, on the same images in the same order, for the same number of
steps. Accuracy is that of val and holdout together; nothing here chooses by either. Each result is kept in the folder --out, so that an
interrupted benchmark goes on. About 20 s a student on 2 cores.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgedistill.recipe.schema import Recipe
from edgedistill.run import Run

KD = {"kd": {}}
LOSSES: dict[str, dict[str, Any]] = {
    "kd": KD,
    "kd, temperature 1": {"kd": {"temperature": 1.0}},
    "kd, temperature 8 to 2": {"kd": {"temperature": {"start": 8.0, "end": 2.0}}},
    "kd, standardised": {"kd": {"standardize": True, "temperature": 2.0, "weight": 9.0}},
    "ce + kd": {"ce": {"weight": 0.5}, "kd": {"weight": 0.5}},
    "ce + kd + mdca": {"ce": {"weight": 0.5}, "kd": {"weight": 0.5}, "mdca": {}},
    "dkd": {"dkd": {}},
    "dist": {"dist": {}},
    "ce + dist": {"ce": {}, "dist": {}},
}
TASKS: dict[str, dict[str, Any]] = {
    "digits, narrow student": {
        "data": {"image_size": 32, "batch_size": 32, "augment": {"shift": 0.1, "rotate": 10.0, "scale": 0.1, "hflip": False}},
        "teacher": {"model": "test_resnet", "train": {"epochs": 8, "lr": 3.0e-3, "warmup": 0.2}},
        "student": {"model": "mobilenetv4_conv_small_035"},
    },
}
EPOCHS, LR = 10, 3.0e-3
CONTROLS = ("labels alone", "teacher's predictions alone")


def recipe_of(task: dict[str, Any], losses: dict[str, Any], seed: int) -> Recipe:
    """The recipe of one student: a single floating-point stage."""
    stages = [{"name": "align", "epochs": EPOCHS, "lr": LR, "losses": losses}, {"name": "qat"}]
    return Recipe.model_validate({"name": "bench", "seed": seed, **task, "distill": {"stages": stages}})


class Bench:
    """One task and seed: data, teacher and its signals, made once; each result is a step of a run folder."""

    def __init__(self, task: dict[str, Any], seed: int, folder: Path) -> None:
        from edgedistill.distill import stages
        from edgedistill.distill.trainer import Lesson
        from edgedistill.tasks.image_classification import predict
        from edgedistill.teach import imageset, load, signals
        from edgedistill.teach.views import Views

        self.task, self.seed, self.run = task, seed, Run(folder)
        recipe = recipe_of(task, KD, seed)
        found = load.listing(recipe.data)
        self.run.step("data", [task, seed], lambda f: load.prepare(found, recipe.data, seed, f))
        self.images = imageset.load(self.run.path("data"))
        views = Views(self.images.images, recipe.data.augment, seed)
        self.lesson = Lesson(self.images, views, recipe.data.views, recipe.data.batch_size, seed)
        self.teacher = self.trained("teacher", recipe, recipe.teacher, lambda f: stages.train_teacher(recipe, self.lesson, f))
        model = stages.trained(recipe.teacher, recipe, len(self.images.classes), self.run.path("teacher"))

        def answer(signals_folder: Path) -> signals.TeacherSignals:
            return signals.compute(model, self.images, views, recipe.data.views, signals_folder, batch_size=64)

        self.teaching_s = self.run.step("signals", [task, seed], lambda f: seconds_of(lambda: answer(f)))
        self.taught = replace(self.lesson, signals=answer(self.run.path("signals")))
        labels = self.images.labels.copy()
        train = self.images.indices["train"]
        labels[train] = predict(model, self.images.images[train]).argmax(axis=1)
        self.predicted = replace(self.lesson, data=replace(self.images, labels=labels))

    def student(self, name: str, losses: dict[str, Any] | None) -> dict[str, Any]:
        """Train the student `name`; without `losses` a control."""
        from edgedistill.distill import stages

        recipe = recipe_of(self.task, losses or KD, self.seed)
        lesson = self.taught if losses else self.predicted if name == CONTROLS[1] else self.lesson
        step = "".join(c if c.isalnum() else "-" for c in name)
        return self.trained(step, recipe, recipe.student, lambda f: stages.train_float(recipe, lesson, f, distilled=losses is not None))

    def trained(self, step: str, recipe: Recipe, config: Any, train: Callable[[Path], Any]) -> dict[str, Any]:
        """Train, and score on val and holdout: accuracy, expected calibration error, seconds of training."""
        from edgedistill.distill import stages
        from edgedistill.tasks.image_classification import predict, softmax
        from edgedistill.verify.intervals import calibration

        def work(folder: Path) -> dict[str, Any]:
            seconds = seconds_of(lambda: train(folder))
            model = stages.trained(config, recipe, len(self.images.classes), folder)
            unseen = np.concatenate([self.images.indices["val"], self.images.indices["holdout"]])
            logits, labels = predict(model, self.images.images[unseen]), self.images.labels[unseen]
            ece = calibration(softmax(logits), labels)["ece"]
            return {"accuracy": float((logits.argmax(axis=1) == labels).mean()), "ece": ece, "seconds": seconds, "n": len(labels)}

        return self.run.step(step, [step, recipe.model_dump(mode="json")], work)


def seconds_of(work: Callable[[], Any]) -> float:
    """How long `work` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def half_width(values: np.ndarray) -> float:
    """Half of the 95% interval of the mean of `values` [seeds], by Student's t."""
    from scipy.stats import t

    return float(t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else float("nan")


def table(results: dict[str, list[dict[str, Any]]]) -> None:
    """Print the rows of one task: results by name, one for each seed."""
    accuracy = {name: np.array([r["accuracy"] for r in rows]) for name, rows in results.items()}
    control, teacher = accuracy[CONTROLS[0]], accuracy["teacher"]
    seconds = np.mean([r["seconds"] for r in results[CONTROLS[0]]])
    print("| student | accuracy | minus control, points | gap closed | ECE | time / control's |\n| --- | --- | --- | --- | --- | --- |")
    for name, rows in results.items():
        difference = accuracy[name] - control
        gap = "" if name == "teacher" else f"{difference.mean() / (teacher - control).mean():.0%}"
        points = "" if name == CONTROLS[0] else f"{100 * difference.mean():+.1f} ± {100 * half_width(difference):.1f}"
        took = "" if name == "teacher" else f"{np.mean([r['seconds'] for r in rows]) / seconds:.2f}"
        print(f"| {name} | {accuracy[name].mean():.1%} | {points} | {gap} | {np.mean([r['ece'] for r in rows]):.3f} | {took} |")


def main() -> None:
    """Train what is missing and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/bench-distill"), help="folder of the results")
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    print("# Benchmark of the losses\n")
    print("Written by `python benchmarks/distill.py`; its first lines say how it compares.")
    print("± is the 95% interval of the mean over seeds, paired by seed.")
    for task_name, task in TASKS.items():
        results: dict[str, list[dict[str, Any]]] = {}
        teaching = []
        for seed in range(arguments.seeds):
            bench = Bench(task, seed, arguments.out / task_name.replace(", ", "-").replace(" ", "-") / str(seed))
            teaching.append(bench.teaching_s)
            results.setdefault("teacher", []).append(bench.teacher)
            for name, losses in [*((control, None) for control in CONTROLS), *LOSSES.items()]:
                results.setdefault(name, []).append(bench.student(name, losses))
                print(f"{task_name}, seed {seed}, {name}: {results[name][-1]['accuracy']:.1%}", file=sys.stderr)
        models = f"teacher {task['teacher']['model']}, student {task['student']['model']}"
        print(f"\n## {task_name}\n\n{models}, {EPOCHS} epochs, {arguments.seeds} seeds, {results['teacher'][0]['n']} images scored.\n")
        table(results)
        print(f"\nBuilding the cache of the teacher's answers takes {max(teaching):.1f} s once; training reads it.")


if __name__ == "__main__":
    main()
