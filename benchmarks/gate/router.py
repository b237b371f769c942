"""How often the risk that `edgedistill route --risk` promises is exceeded, and what is kept; docs/router.md has the table.

    python benchmarks/gate/router.py [--repeats 2000]

Each repeat draws val of a made student that is right with the probability that it says, and computes the true risk of what the
threshold keeps.
"""

import argparse

import numpy as np

from edgedistill.gate.selective import threshold_of_risk

DELTA = 0.05
SHARPNESS = 8.0
"""Confidences c have the density 8 c^7: the student is right in 8 of 9 cases."""


def true_figures(threshold: float) -> tuple[float, float]:
    """The coverage and the risk of the answers above `threshold`, of the whole population."""
    below = max(threshold, 0.0)
    coverage = 1 - below**SHARPNESS
    right = SHARPNESS / (SHARPNESS + 1) * (1 - below ** (SHARPNESS + 1))
    return coverage, 1 - right / coverage


def main() -> None:
    """Print a row of a Markdown table for each risk and size of val."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=2000)
    repeats = parser.parse_args().repeats
    print("| risk asked for | val | above it | nothing kept | kept, mean | kept at best |\n| ---: | ---: | ---: | ---: | ---: | ---: |")
    grid = [true_figures(threshold) for threshold in np.linspace(0, 0.9999, 10_000)]
    for limit in (0.02, 0.05, 0.1):
        best = max((coverage for coverage, risk in grid if risk <= limit), default=0.0)
        for count in (300, 1000, 3000):
            rng, above, none, kept = np.random.default_rng(2), 0, 0, 0.0
            for _ in range(repeats):
                confidence = rng.beta(SHARPNESS, 1, count)
                threshold = threshold_of_risk(confidence, (rng.random(count) > confidence).astype(float), limit, DELTA)
                if threshold is None:
                    none += 1
                    continue
                coverage, risk = true_figures(threshold)
                above, kept = above + (risk > limit), kept + coverage
            print(
                f"| {limit:.0%} | {count:,} | {above / repeats:.2%} | {none / repeats:.0%} | {kept / repeats:.0%} | {best:.0%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
