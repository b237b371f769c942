"""What a small gold set adds, by its weight: `python benchmarks/teach/gold.py --out runs/gold`.

3,000 MNIST digits train whose labels are wrong in 40% of the cases, beside 150 that are right. The same teacher, control and student are
trained without the gold set, and with it at several weights. The holdout is 3,000 digits with right labels, which nothing else reads.
"""

import argparse
from pathlib import Path

import numpy as np

import edgedistill

MNIST = Path(__file__).parent.parent / "data" / "mnist10k.npz"
LOGGED, GOLD, TRACES, WRONG = 3000, 150, 3000, 0.4
WEIGHTS = (None, 1, 4, 16)


def write(folder: Path, seed: int) -> None:
    """Write the three sets of images into `folder`."""
    rng = np.random.default_rng(seed)
    with np.load(MNIST) as file:
        images, labels = file["images"], file["labels"]
    order = rng.permutation(len(labels))[: LOGGED + GOLD + TRACES]
    logged, gold, traces = np.split(order, np.cumsum([LOGGED, GOLD]))
    noisy = labels.copy()
    wrong = logged[rng.random(LOGGED) < WRONG]
    noisy[wrong] = (labels[wrong] + rng.integers(1, 10, len(wrong))) % 10
    folder.mkdir(parents=True, exist_ok=True)
    for name, places, values in (("logged", logged, noisy), ("gold", gold, labels), ("traces", traces, labels)):
        np.savez(folder / f"{name}.npz", images=images[places], labels=values[places])


def recipe(folder: Path, weight: float | None, seed: int) -> dict[str, object]:
    """The recipe with the gold set at `weight`, or without it."""
    sets = {"gold": {"source": {"npz": str(folder / "gold.npz")}, "weight": weight, "split": {"val": 0.0, "holdout": 0.0}}}
    return {
        "name": f"gold-{weight}-{seed}",
        "seed": seed,
        "threads": 1,
        "data": {
            "source": {"npz": str(folder / "logged.npz")},
            "sets": {} if weight is None else sets,
            "holdout": {"source": {"npz": str(folder / "traces.npz")}},
            "augment": {"shift": 0.1, "rotate": 10.0},
            "views": 2,
            "leakage": "off",
        },
        "teacher": {"model": "test_resnet", "train": {"epochs": 6, "lr": 3.0e-3}},
        "student": {"model": "test_efficientnet"},
        "distill": {"stages": [{"name": "finetune", "epochs": 6, "lr": 3.0e-3, "losses": {"ce": {"weight": 0.5}, "kd": {"weight": 0.5}}}]},
        "targets": ["web"],
    }


def main() -> None:
    """Print a table of the holdout's accuracy by weight, the mean over the seeds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=Path("runs/gold"))
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    rungs = ("teacher", "control", "student")
    print("| weight of the gold set | " + " | ".join(rungs) + " |\n| ---: | ---: | ---: | ---: |")
    for weight in WEIGHTS:
        found = []
        for seed in range(options.seeds):
            folder = options.out / f"data-{seed}"
            if not folder.exists():
                write(folder, seed)
            summary = edgedistill.run(recipe(folder, weight, seed), options.out / "runs")
            assert summary is not None
            scores = {row.rung: row.sets["holdout"].holdout.value for row in summary.ladder}
            found.append([scores[rung] or 0.0 for rung in rungs])
        means, spread = np.mean(found, axis=0), np.std(found, axis=0, ddof=1) if len(found) > 1 else np.zeros(len(rungs))
        shown = [f"{100 * mean:.1f}% ± {100 * deviation:.1f}" for mean, deviation in zip(means, spread, strict=True)]
        print(f"| {'none' if weight is None else weight} | " + " | ".join(shown) + " |", flush=True)


if __name__ == "__main__":
    main()
