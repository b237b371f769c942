"""How often `edgedistill monitor` calls drift where there is none, and finds drift that is there; docs/monitor.md has the table.

    python benchmarks/gate/drift.py [--repeats 1000] [--only WORDS]

Each repeat draws a reference of 1,000 answers of a made classifier with ten decisions of unequal shares, and traces of the same
population or a shifted one, some with six features of their images. Confidences are rounded to 4 digits, so that many are equal.
"""

import argparse
from collections import Counter

import numpy as np

from edgedistill.gate.drift import Traces, answered, tests

DECISIONS = 10
REFERENCE = 1000
ALPHA, LIMIT = 0.01, 0.25


def drawn(rng: np.random.Generator, count: int, shares: np.ndarray, sharpness: float, features: bool, darker: float) -> Traces:
    """Answers of a population: `shares` [10] of the decisions, and confidences whose mean rises with `sharpness`.

    features: whether traces have six numbers of their images; those of one channel go with those of another. darker: what their means
    are less by, in standard deviations.
    """
    confidence = np.maximum(rng.beta(sharpness, 1, count), 1 / DECISIONS).round(4)
    known: dict[str, np.ndarray | list[str]] = {}
    if features:
        light, contrast = rng.normal(-darker, 1, count), rng.normal(0, 1, count)
        for channel in ("red", "green", "blue"):
            known[f"{channel}_mean"] = 0.5 + 0.1 * (light + 0.3 * rng.normal(0, 1, count))
            known[f"{channel}_deviation"] = 0.2 + 0.05 * (contrast + 0.3 * rng.normal(0, 1, count))
    return Traces(confidence, [str(number) for number in rng.choice(DECISIONS, count, p=shares)], known)


def advice(reference: Traces, traces: Traces) -> str:
    """What the command says."""
    drifted = [test for test in tests(answered(reference), traces, ALPHA) if test.drifted]
    answers = [test for test in drifted if not test.name.startswith("input ")]
    large = any(test.statistic >= LIMIT for test in answers if test.name.endswith("stability"))
    return "retrain" if large else "watch" if drifted else "stable"


def main() -> None:
    """Print a row of a Markdown table for each population and number of traces."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--only", default="", help="populations whose names have these words")
    asked = parser.parse_args()
    shares = np.random.default_rng(0).dirichlet(np.full(DECISIONS, 5.0))
    # A tenth of all answers moves to one decision; or a third does.
    some, many = (0.9 * shares + 0.1 * np.eye(DECISIONS)[3], 0.67 * shares + 0.33 * np.eye(DECISIONS)[3])
    populations = {
        "no drift": (shares, 8.0, False, 0.0),
        "confidence a little lower": (shares, 6.0, False, 0.0),
        "confidence lower": (shares, 3.0, False, 0.0),
        "a tenth moves to one decision": (some, 8.0, False, 0.0),
        "a third moves to one decision": (many, 8.0, False, 0.0),
        "no drift, six features": (shares, 8.0, True, 0.0),
        "images a little darker": (shares, 8.0, True, 0.2),
        "images darker": (shares, 8.0, True, 1.0),
        "a third moves to one decision, six features": (many, 8.0, True, 0.0),
    }
    print("| population | traces | stable | watch | retrain |\n| --- | ---: | ---: | ---: | ---: |")
    for title in (title for title in populations if asked.only in title):
        moved, sharpness, features, darker = populations[title]
        for count in (100, 300, 1000):
            rng, found = np.random.default_rng(1), Counter[str]()
            for _ in range(asked.repeats):
                reference = drawn(rng, REFERENCE, shares, 8.0, features, 0.0)
                found[advice(reference, drawn(rng, count, moved, sharpness, features, darker))] += 1
            cells = " | ".join(f"{found[name] / asked.repeats:.1%}" for name in ("stable", "watch", "retrain"))
            print(f"| {title} | {count:,} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
