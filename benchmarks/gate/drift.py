"""How often `edgedistill monitor` calls drift where there is none, and finds drift that is there; docs/monitor.md has the table.

    python benchmarks/gate/drift.py [--repeats 1000]

Each repeat draws a reference of 1,000 answers of a made classifier with ten decisions of unequal shares, and traces of the same
population or a shifted one. Confidences are rounded to 4 digits, so that many are equal.
"""

import argparse
from collections import Counter

import numpy as np

from edgedistill.gate.drift import Traces, answered, tests

DECISIONS = 10
REFERENCE = 1000
ALPHA, LIMIT = 0.01, 0.25


def drawn(rng: np.random.Generator, count: int, shares: np.ndarray, sharpness: float) -> Traces:
    """Answers of a population: `shares` [10] of the decisions, and confidences whose mean rises with `sharpness`."""
    confidence = np.maximum(rng.beta(sharpness, 1, count), 1 / DECISIONS).round(4)
    return Traces(confidence, [str(number) for number in rng.choice(DECISIONS, count, p=shares)])


def advice(reference: Traces, traces: Traces) -> str:
    """What the command says."""
    drifted = [test for test in tests(answered(reference), traces, ALPHA) if test.drifted]
    large = any(test.statistic >= LIMIT for test in drifted if test.name.endswith("stability"))
    return "retrain" if large else "watch" if drifted else "stable"


def main() -> None:
    """Print a row of a Markdown table for each population and number of traces."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=1000)
    repeats = parser.parse_args().repeats
    shares = np.random.default_rng(0).dirichlet(np.full(DECISIONS, 5.0))
    # A tenth of all answers moves to one decision; or a third does.
    some, many = (0.9 * shares + 0.1 * np.eye(DECISIONS)[3], 0.67 * shares + 0.33 * np.eye(DECISIONS)[3])
    populations = {
        "no drift": (shares, 8.0),
        "confidence a little lower": (shares, 6.0),
        "confidence lower": (shares, 3.0),
        "a tenth moves to one decision": (some, 8.0),
        "a third moves to one decision": (many, 8.0),
    }
    print("| population | traces | stable | watch | retrain |\n| --- | ---: | ---: | ---: | ---: |")
    for title, (moved, sharpness) in populations.items():
        for count in (100, 300, 1000):
            rng = np.random.default_rng(1)
            found = Counter(advice(drawn(rng, REFERENCE, shares, 8.0), drawn(rng, count, moved, sharpness)) for _ in range(repeats))
            cells = " | ".join(f"{found[name] / repeats:.1%}" for name in ("stable", "watch", "retrain"))
            print(f"| {title} | {count:,} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
