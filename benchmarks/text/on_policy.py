"""Whether a student learns more by its own answers: the tool calls of recipes/llm/tool-calls.yaml, few rows, several ways to learn.

python benchmarks/text/on_policy.py FOLDER [--rows 3000] [--seeds 2]

Every way starts from the same weights and the same teacher, and takes as many steps. Printed are the shares of val's answers that greedy
decoding gives whole, with 95% intervals, and the seconds of training.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import yaml

import edgedistill

ROOT = Path(__file__).parents[2]
KD = {"losses": {"ce": {"weight": 0.5}, "kd": {"weight": 0.5}}}
JSD = {"losses": {"ce": {"weight": 0.5}, "jsd": {"weight": 0.5}}}
HALF = {"online": True, "on_policy": 0.5}
"""Half of the steps on-policy."""
WAYS: dict[str, dict[str, Any]] = {
    "data alone (the control)": {"last": {}},
    "ce + kd": {"last": KD},
    "ce + jsd": {"last": JSD},
    "ce + jsd, half on-policy": {"last": JSD | HALF},
    "ce + reverse KL, half on-policy": {"last": {"losses": {"ce": {"weight": 0.5}, "reverse_kl": {"weight": 0.5}}} | HALF},
    "ce + jsd + avoid, half on-policy": {"last": {"losses": JSD["losses"] | {"avoid": {"weight": 0.2}}} | HALF},
    "ce + kd, and two answers of the teacher to each prompt": {"last": KD, "answers": {"sampling": {"samples": 2, "max_tokens": 40}}},
}
"""The last of four epochs; the three before it are ce + kd. What a student draws from random weights teaches nothing."""


def measured(way: dict[str, Any], folder: Path, rows: int, seed: int) -> tuple[int, int, float]:
    """Right answers, of how many, and the seconds that the student's epochs took."""
    fields = yaml.safe_load((ROOT / "recipes/llm/tool-calls.yaml").read_text())
    fields |= {"name": f"on-policy-{seed}", "seed": seed, "threads": 1}
    fields["data"] |= {"source": {"example": "tool-calls", "rows": rows}, "split": {"val": 0.15, "holdout": 0.0}, "tried": 0}
    fields["teacher"]["train"]["epochs"] = 6
    fields["teacher"] |= {"answers": way["answers"]} if "answers" in way else {}
    alone = not way["last"]
    fields["distill"]["stages"] = [
        {"name": "align", "epochs": 3, "lr": 4.0e-3, **KD},
        {"name": "finetune", "epochs": 1, "lr": 4.0e-3, **(way["last"] or KD)},
    ]
    fields["distill"]["control"] = alone
    summary = edgedistill.distill(fields, folder)
    assert summary is not None
    name = "control" if alone else "student"
    rung = next(rung for rung in summary.ladder if rung.rung == name)
    n = rung.score.val.n  # type: ignore[union-attr]
    return round(rung.further["exact match"] * n), n, sum(epoch.seconds for epoch in summary.curves[name])


def main() -> None:
    """Train every way with every seed, and print a table."""
    from edgedistill.tasks.intervals import wilson

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--seeds", type=int, default=2)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    lines = list[str]()
    print("| way | exact match | training, s |\n| --- | --- | --- |")
    for name, way in WAYS.items():
        runs = [measured(way, asked.folder, asked.rows, seed) for seed in range(asked.seeds)]
        right, n = sum(run[0] for run in runs), sum(run[1] for run in runs)
        low, high = wilson(right, n)
        seconds = sum(run[2] for run in runs) / len(runs)
        lines.append(f"| {name} | {right / n:.1%} [{low:.1%}, {high:.1%}] | {seconds:.0f} |")
        print(lines[-1], flush=True)
        (asked.folder / "on_policy.json").write_text(json.dumps(lines, indent=1))


if __name__ == "__main__":
    main()
