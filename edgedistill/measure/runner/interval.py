"""Confidence interval of a median by order statistics: no assumption about the shape of the distribution."""

import math
from collections.abc import Sequence
from statistics import NormalDist

_EXACT_UP_TO = 1000


def lower_rank(n: int, confidence: float) -> int:
    """Rank l, counted from 1, so that [x_(l), x_(n+1-l)] of n ordered samples covers the median with at least `confidence`; 0 if none does.

    How many of n independent samples lie below the median is binomial (n, 1/2), so the interval misses it on one side with the
    probability P(B < l). Source: Conover, Practical Nonparametric Statistics, 3rd ed., 3.2; Le Boudec, Performance Evaluation of
    Computer and Communication Systems, 2010, theorem 2.1, which also gives the normal approximation that is used above 1000 samples.
    """
    if n > _EXACT_UP_TO:
        return math.floor(n / 2 - NormalDist().inv_cdf((1 + confidence) / 2) * math.sqrt(n) / 2)
    allowed = (1 - confidence) / 2 * 2**n
    rank, ways, below = 0, 1, 1
    while below <= allowed:
        rank += 1
        ways = ways * (n - rank + 1) // rank
        below += ways
    return rank


def median_interval(ordered: Sequence[float], confidence: float = 0.95) -> tuple[float, float] | None:
    """Bounds of the median of ascending samples, in their unit, or None with too few: 95% takes at least 6."""
    rank = lower_rank(len(ordered), confidence)
    return (ordered[rank - 1], ordered[-rank]) if rank else None


def relative_half_width(ordered: Sequence[float], confidence: float = 0.95) -> float:
    """Half the width of the median's interval as a share of the median; infinite with too few samples to have an interval."""
    bounds = median_interval(ordered, confidence)
    median = ordered[len(ordered) // 2] if ordered else 0
    return (bounds[1] - bounds[0]) / 2 / median if bounds and median else math.inf
