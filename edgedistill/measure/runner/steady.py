"""Decides when a warm-up is over, by a test on the medians of successive windows."""

import math
from collections import Counter
from collections.abc import Sequence
from statistics import NormalDist, median

WINDOWS = 8
# Above the usual 5%: mistaking a warm-up for a steady state does harm, a longer warm-up does not.
_SIGNIFICANCE = 0.1


def trend_p_value(series: Sequence[float]) -> float:
    """Two-sided p-value of the Mann-Kendall test that `series` has no monotonic trend; 1.0 when all values are equal.

    S is the number of rising pairs minus falling pairs. Its variance is corrected for ties, the normal approximation for continuity.
    Source: Mann, Econometrica 13 (1945); Kendall, Rank Correlation Methods, 4th ed. 1975.
    """
    n = len(series)
    s = sum((later > earlier) - (later < earlier) for i, earlier in enumerate(series) for later in series[i + 1 :])
    ties = sum(t * (t - 1) * (2 * t + 5) for t in Counter(series).values())
    variance = (n * (n - 1) * (2 * n + 5) - ties) / 18
    if s == 0 or variance == 0:
        return 1.0
    return 2 * (1 - NormalDist().cdf((abs(s) - 1) / math.sqrt(variance)))


def is_steady(medians: Sequence[float], tolerance: float) -> bool:
    """Whether the last 8 window medians are steady: their halves differ by at most `tolerance` (a share), or they show no trend.

    The first condition accepts a trend that is too small to matter, the second accepts noise that a longer warm-up would not remove.
    """
    if len(medians) < WINDOWS:
        return False
    last = medians[-WINDOWS:]
    before, after = median(last[: WINDOWS // 2]), median(last[WINDOWS // 2 :])
    return abs(after - before) <= tolerance * before or trend_p_value(last) > _SIGNIFICANCE
