"""Estimates B's duration divided by A's from interleaved processes, with a bootstrap interval.

The unit of repetition is the process and not the inference: the memory layout of a process shifts all of its inferences by some percent.
docs/comparing.md explains each step, and shows how often the interval was right.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist, median

import numpy as np

from edgedistill.measure.runner.record_types import Block

# With fewer rounds a 95% interval would reach beyond the most extreme resamples.
MIN_ROUNDS = 6
_RESAMPLES = 10_000
_CHUNK = 1_000_000


def log_ratios(blocks: Sequence[Block]) -> list[float]:
    """The logarithm of B's duration divided by A's for each round of `block` records: the median over pairs of neighbouring blocks.

    The i-th blocks of A and B are neighbours in time, so that common conditions such as the clock frequency cancel out.
    """
    rounds: dict[int, dict[str, list[float]]] = {}
    for block in blocks:
        rounds.setdefault(block["round"], {"a": [], "b": []})[block["side"]].append(math.log(median(block["durations_ns"])))
    return [median(b - a for a, b in zip(sides["a"], sides["b"], strict=True)) for sides in rounds.values()]


def centre(values: Sequence[float]) -> float:
    """The Hodges-Lehmann estimate: the median of the means of all pairs, including each value with itself.

    It is almost as efficient as the mean for normal noise, and a single disturbed round hardly changes it.
    Source: Hodges and Lehmann, Estimates of Location Based on Rank Tests, The Annals of Mathematical Statistics 34 (1963).
    """
    return float(_centres(np.asarray(values, dtype=np.float64), np.ones((1, len(values)), np.int64))[0])


def _centres(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The Hodges-Lehmann estimate of each resample: values float64 [rounds], counts of draws int64 [N, rounds] -> float64 [N]."""
    first, second = np.triu_indices(len(values))
    means = (values[first] + values[second]) / 2
    order = np.argsort(means)
    first, second, means = first[order], second[order], means[order]
    # Rows are pairs, columns are resamples. The weight of a pair is the number of times its mean occurs among all pairs of the resample.
    drawn = np.ascontiguousarray(counts.T)
    weights = drawn[first] * drawn[second]
    same = np.flatnonzero(first == second)
    weights[same] = (weights[same] + drawn[first[same]]) // 2
    doubled = 2 * np.cumsum(weights, axis=0)
    total = doubled[-1] // 2
    return np.asarray((means[(doubled < total).sum(axis=0)] + means[(doubled <= total).sum(axis=0)]) / 2)


def bootstrap_interval(values: Sequence[float], seed: int = 0, confidence: float = 0.95) -> tuple[float, float] | None:
    """Confidence interval of the centre of `values`, one per round; None with fewer than 6 rounds.

    Whole rounds are drawn with replacement. The plain percentile interval is too narrow for few rounds, so its levels are widened by
    the ratio of Student's t to the normal distribution. Source: Hesterberg, What Teachers Should Know About the Bootstrap, The American
    Statistician 69 (2015); Kalibera and Jones, Rigorous Benchmarking in Reasonable Time, ISMM 2013.
    """
    n = len(values)
    if n < MIN_ROUNDS:
        return None
    counts = np.random.default_rng(seed).multinomial(n, [1 / n] * n, _RESAMPLES)
    # A chunk needs a few times 8 MB of memory.
    parts = np.array_split(counts, math.ceil(_RESAMPLES * n * (n + 1) / 2 / _CHUNK))
    centres = np.concatenate([_centres(np.asarray(values, dtype=np.float64), part) for part in parts])
    level = NormalDist().cdf(-math.sqrt(n / (n - 1)) * student_t((1 + confidence) / 2, n - 1))
    low, high = np.quantile(centres, [level, 1 - level])
    return float(low), float(high)


def student_t(probability: float, degrees: int) -> float:
    """Quantile of Student's t by its expansion around the normal distribution; accurate to 0.1% from 5 degrees of freedom on.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 1964, formula 26.7.5.
    """
    z = NormalDist().inv_cdf(probability)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / degrees ** (power + 1) for power, term in enumerate(terms))
