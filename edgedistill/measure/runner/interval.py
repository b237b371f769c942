"""Confidence intervals of quantiles by order statistics, without an assumption about the distribution."""

import math
from collections.abc import Sequence

# The tail beyond this many standard deviations has a probability below 1e-30.
_DEVIATIONS = 12


def lower_rank(n: int, confidence: float, q: float = 0.5) -> int:
    """The largest rank l (from 1) such that P(q-quantile < x_(l) of n ordered samples) <= (1 - confidence) / 2; 0 if there is none.

    The number of n independent samples below the q-quantile is binomial (n, q), so x_(l) lies above it with the probability P(B < l).
    This function sums that exactly. The upper end of the interval has the rank n + 1 - lower_rank(n, confidence, 1 - q), by symmetry.
    Source: Conover, Practical Nonparametric Statistics, 3rd ed., 3.2; Le Boudec, Performance Evaluation of Computer and Communication
    Systems, 2010, theorem 2.1.
    """
    # Rounding errors must not make the interval too narrow.
    allowed = (1 - confidence) / 2 * (1 - 1e-9)
    rank = max(0, math.floor(n * q - _DEVIATIONS * math.sqrt(n * q * (1 - q))))
    ways = math.lgamma(n + 1) - math.lgamma(rank + 1) - math.lgamma(n - rank + 1)
    chance = math.exp(ways + rank * math.log(q) + (n - rank) * math.log1p(-q))
    below = chance
    while below <= allowed:
        chance *= (n - rank) / (rank + 1) * (q / (1 - q))
        rank += 1
        below += chance
    return rank


def quantile_interval(ordered: Sequence[float], q: float = 0.5, confidence: float = 0.95) -> tuple[float, float] | None:
    """Bounds of the q-quantile of ascending samples, in their unit, or None with too few; see `min_samples`."""
    n = len(ordered)
    low, high = lower_rank(n, confidence, q), lower_rank(n, confidence, 1 - q)
    return (ordered[low - 1], ordered[-high]) if low and high else None


def min_samples(q: float, confidence: float = 0.95) -> int:
    """The number of samples that an interval of the q-quantile needs: 6 for the median, 36 for p90, 72 for p95, 368 for p99 at 95%."""
    # All n samples lie on the same side of the quantile with the probability max(q, 1 - q)**n.
    return math.ceil(math.log((1 - confidence) / 2) / math.log(max(q, 1 - q)))


def relative_half_width(ordered: Sequence[float], confidence: float = 0.95) -> float:
    """Half the width of the median's interval as a share of the median; infinite with too few samples for an interval."""
    bounds = quantile_interval(ordered, 0.5, confidence)
    median = ordered[len(ordered) // 2] if ordered else 0
    return (bounds[1] - bounds[0]) / 2 / median if bounds and median else math.inf
