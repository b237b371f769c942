"""What a student learns from teachers of several sizes: `python benchmarks/distill/teachers.py > docs/benchmarks-teachers.md`.

The task is the hard augmentation of `tasks.py`: the same student, images and steps under each teacher. A much stronger teacher is known to
hurt plain kd (Mirzadeh et al. 2019, arXiv 1902.03393). Each result is kept in --out. About 18 minutes a seed on one core.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from losses import CONTROL, STANDARDISED, half_width
from tasks import TASKS, Bench

TEACHERS = ("test_resnet", "resnet10t", "resnet18")
LOSSES: dict[str, Any] = {"kd": {"kd": {}}, "kd, standardised": {"kd": STANDARDISED}}
TASK = TASKS["hard augmentation"]


def main() -> None:
    """Train what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/bench-teachers"), help="folder of the results")
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    found: dict[str, dict[str, list[float]]] = {name: {} for name in TEACHERS}
    size: dict[str, int] = {}
    controls: list[float] = []
    for seed in range(arguments.seeds):
        for name in TEACHERS:
            task = replace(TASK, teacher=TASK.teacher | {"model": name})
            bench = Bench(task, seed, arguments.out / name / str(seed))
            size[name] = bench.parameters
            # No teacher has a part in the control: one is enough.
            if name == TEACHERS[0]:
                controls.append(bench.student(CONTROL, None, labels="true")["accuracy"])
            results = {"teacher": bench.teacher} | {loss: bench.student(loss, losses) for loss, losses in LOSSES.items()}
            for row, result in results.items():
                found[name].setdefault(row, []).append(result["accuracy"])
                print(f"seed {seed}, {name}, {row}: {result['accuracy']:.1%}", file=sys.stderr)
    print("# Teachers of several sizes\n\nWritten by `python benchmarks/distill/teachers.py`, which says what is compared.")
    print(f"Student {TASK.student['model']}, {TASK.images} training images under hard augmentation, {TASK.epochs} epochs, ", end="")
    interval = "with the 95% interval of the mean over seeds, paired by seed" if arguments.seeds > 1 else "and one seed has no interval"
    print(f"seeds: {arguments.seeds}; in points above the labels alone, {interval}.\n")
    print("| teacher | parameters | its accuracy | " + " | ".join(LOSSES) + " |\n| --- | --- | --- |" + " --- |" * len(LOSSES))
    for name in TEACHERS:
        gains = [100 * (np.array(found[name][loss]) - np.array(controls)) for loss in LOSSES]
        cells = " | ".join(f"{gain.mean():+.1f}" + (f" ± {half_width(gain):.1f}" if len(gain) > 1 else "") for gain in gains)
        print(f"| {name} | {size[name] / 1e6:.2f} M | {np.mean(found[name]['teacher']):.1%} | {cells} |")
    print(f"\nLabels alone: {np.mean(controls):.1%}.")


if __name__ == "__main__":
    main()
