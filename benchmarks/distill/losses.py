"""How much of the gap between control and teacher each loss closes: `python benchmarks/distill/losses.py > docs/benchmarks-distill.md`.

See `tasks.py` for what is compared. Each result is kept in the folder --out, so that an interrupted benchmark goes on. About 20
minutes a seed on one core.
"""

import argparse
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
from tasks import TASKS, Bench

STANDARDISED = {"standardize": True, "temperature": 2.0, "weight": 9.0}
LOSSES: dict[str, Any] = {
    "kd": {"kd": {}},
    "kd, temperature 2": {"kd": {"temperature": 2.0}},
    "kd, standardised": {"kd": STANDARDISED},
    "ce + kd": {"ce": {"weight": 0.5}, "kd": {"weight": 0.5}},
    "ce + dkd": {"ce": {}, "dkd": {"weight": {"start": 0.0, "end": 1.0}}},
    "dist": {"dist": {}},
    "kd + hint": {"kd": {}, "hint": {}},
    "kd + rkd": {"kd": {}, "rkd": {}},
    "kd + crd": {"kd": {}, "crd": {}},
    "function matching": [{"name": "align", "losses": {"kd": {}}, "online": True, "mixup": True}],
}
DEFAULT = "kd"
"""What the recipes of the package use."""
CONTROL, PREDICTED, LONGER = "labels alone", "teacher's predictions alone", "labels alone, for the time of teaching"


def half_width(values: np.ndarray) -> float:
    """Half of the 95% interval of the mean of `values` [seeds], by Student's t."""
    from scipy.stats import t

    return float(t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else float("nan")


def students(bench: Bench) -> dict[str, dict[str, Any]]:
    """The results of one task and seed, by name."""
    found = {"teacher": bench.teacher, CONTROL: bench.student(CONTROL, None, labels="true")}
    found |= {name: bench.student(name, losses) for name, losses in LOSSES.items()}
    found[PREDICTED] = bench.student(PREDICTED, None, labels="predicted")
    # As many epochs of the control as the default loss took, its cache included.
    ratio = (found[DEFAULT]["seconds"] + bench.teaching_s) / found[CONTROL]["seconds"]
    found[LONGER] = bench.student(LONGER, None, labels="true", epochs=max(bench.task.epochs, math.ceil(bench.task.epochs * ratio)))
    return found


def table(results: dict[str, list[dict[str, Any]]]) -> None:
    """Print the rows of one task: results by name, one for each seed."""
    accuracy = {name: np.array([r["accuracy"] for r in rows]) for name, rows in results.items()}
    control, teacher = accuracy[CONTROL], accuracy["teacher"]
    seconds = np.mean([r["seconds"] for r in results[CONTROL]])
    print("| student | accuracy | minus control, points | gap closed | ECE, before and after calibration | time / control's |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, rows in results.items():
        difference = accuracy[name] - control
        gap = "" if name == "teacher" else f"{difference.mean() / (teacher - control).mean():.0%}"
        points = "" if name == CONTROL else f"{100 * difference.mean():+.1f} ± {100 * half_width(difference):.1f}"
        took = "" if name == "teacher" else f"{np.mean([r['seconds'] for r in rows]) / seconds:.2f}"
        errors = ", ".join(f"{np.mean([r[key] for r in rows]):.3f}" for key in ("ece", "calibrated_ece"))
        print(f"| {name} | {accuracy[name].mean():.1%} | {points} | {gap} | {errors} | {took} |")


def overall(results: dict[str, dict[str, list[dict[str, Any]]]]) -> None:
    """Print the gap closed over all tasks, as a ratio of means."""
    print("\n## All tasks\n\nGap closed as a ratio of means over the tasks.\n\n| student | gap closed |\n| --- | --- |")

    def mean(name: str) -> np.ndarray:
        return np.array([np.mean([r["accuracy"] for r in task[name]]) for task in results.values()])

    gap = (mean("teacher") - mean(CONTROL)).mean()
    for name in next(iter(results.values())):
        if name not in ("teacher", CONTROL):
            print(f"| {name} | {(mean(name) - mean(CONTROL)).mean() / gap:.0%} |")


def equal_time(results: dict[str, dict[str, list[dict[str, Any]]]]) -> None:
    """Print the default loss beside the control that trained as long as teaching and training took."""
    print("\n## Equal time\n\nThe control trains on for as long as making the cache and training with it took.\n")
    print("| task | seconds | labels alone | kd | difference, points |\n| --- | --- | --- | --- | --- |".replace("kd", DEFAULT))
    for name, task in results.items():
        taught, control = (np.array([r["accuracy"] for r in task[row]]) for row in (DEFAULT, LONGER))
        difference = 100 * (taught - control)
        seconds = np.mean([r["seconds"] for r in task[LONGER]])
        row = f"{seconds:.1f} | {control.mean():.1%} | {taught.mean():.1%} | {difference.mean():+.1f} ± {half_width(difference):.1f}"
        print(f"| {name} | {row} |")


def main() -> None:
    """Train what is missing and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/bench-distill"), help="folder of the results")
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    results: dict[str, dict[str, list[dict[str, Any]]]] = {task: {} for task in TASKS}
    teaching: dict[str, list[float]] = {task: [] for task in TASKS}
    for seed in range(arguments.seeds):
        for name, task in TASKS.items():
            bench = Bench(task, seed, arguments.out / name.replace(" ", "-") / str(seed))
            teaching[name].append(bench.teaching_s)
            for student, result in students(bench).items():
                results[name].setdefault(student, []).append(result)
                print(f"seed {seed}, {name}, {student}: {result['accuracy']:.1%}", file=sys.stderr)
    print("# Benchmark of the losses\n")
    print("Written by `python benchmarks/distill/losses.py`; `tasks.py` beside it says what is compared.")
    print("± is the 95% interval of the mean over seeds, paired by seed. Losses with features are timed with features in the cache.")
    for name, task in TASKS.items():
        few = f", {task.labelled} labels" if task.labelled else f", {task.images} training images" if task.images else ""
        width = "".join(f" {key} {value}" for key, value in task.student.get("arguments", {}).items())
        models = f"teacher {task.teacher['model']}, student {task.student['model']}{width}{few}"
        print(f"\n## {name.capitalize()}\n\n{models}, {task.epochs} epochs, {arguments.seeds} seeds, ", end="")
        print(f"{results[name]['teacher'][0]['n']} images scored.\n")
        table(results[name])
        took = f"{np.mean(teaching[name]):.1f} s"
        print(f"\nThe cache of the teacher's logits took {took}, with the augmented views in memory; training reads it.")
    overall(results)
    equal_time(results)


if __name__ == "__main__":
    main()
