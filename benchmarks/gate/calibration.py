"""Measures how often the gate passes a candidate whose true calibration error is the limit, and prints it as Markdown, for docs/gate.md.

Each row is 500 candidates. Their decisions are right with their confidence less the limit, so that every bin has the limit as its gap; the
last column is of candidates that are right with their confidence. Of answers, half have all tokens right or wrong by one number. It takes
minutes.
"""

import sys
import time

import numpy as np

from edgedistill.gate.bounds import calibration_error
from edgedistill.tasks.classification.calibration_error import gaps
from edgedistill.tasks.intervals import Gaps

CONFIDENCE = 0.95
CANDIDATES = 500
TOKENS = 8
"""Most of an answer; it has one at least."""
KINDS = ("mostly sure", "often unsure", "answers of 1 to 8 tokens")


def candidate(kind: str, n: int, gap: float, rng: np.random.Generator) -> Gaps:
    """A holdout of `n` samples whose decisions are right with their confidence less `gap`."""
    if kind != KINDS[2]:
        confidence = 1 - 0.5 * rng.beta(0.4, 6, n) if kind == KINDS[0] else 0.3 + 0.7 * rng.beta(3, 1.2, n)
        return gaps(confidence, rng.random(n) < confidence - gap, np.arange(n), n, 1)
    samples = np.repeat(np.arange(n), rng.integers(1, TOKENS + 1, n))
    confidence = 0.3 + 0.7 * rng.beta(4, 0.8, len(samples))
    draw, together = rng.random(len(samples)), rng.random(n) < 0.5
    draw = np.where(together[samples], rng.random(n)[samples], draw)
    return gaps(confidence, draw < confidence - gap, samples, n, TOKENS)


def passed(kind: str, n: int, gap: float, limit: float) -> tuple[float, float]:
    """How often the error itself is at most the limit, and how often its bound is."""
    rng = np.random.default_rng(0)
    found = np.array([calibration_error(candidate(kind, n, gap, rng), CONFIDENCE) for _ in range(CANDIDATES)])
    error, bound = (found <= limit).mean(axis=0).tolist()
    return error, bound


def main() -> None:
    """Simulate and print."""
    started = time.process_time()
    print("| confidences | samples | limit | the error alone | its bound (the gate) | a calibrated candidate passes |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for kind in KINDS:
        for n, limit in ((100, 0.1), (500, 0.05), (500, 0.1), (2000, 0.05)):
            error, bound = passed(kind, n, limit, limit)
            print(f"| {kind} | {n} | {limit:g} | {error:.1%} | {bound:.1%} | {passed(kind, n, 0.0, limit)[1]:.0%} |", flush=True)
    print(f"\n{time.process_time() - started:.0f} s of processor time", file=sys.stderr)


if __name__ == "__main__":
    main()
