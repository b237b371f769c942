"""Decides whether a process leaks memory or its allocator only warmed up."""

import math
from statistics import NormalDist

import numpy as np

from edgedistill.records import Unavailable
from edgedistill.records.stress import MemoryGrowth

_MB = 1e6
_POINTS = 60
_MIN_S, _MIN_POINTS = 30.0, 12
# The kernel counts resident pages in batches per core, so a smaller growth may be an artefact.
_RESOLUTION_MB = 0.5
_GOES_ON = 0.3
_PARTS = 5


def leak(t_s: np.ndarray, rss_bytes: np.ndarray, warmup_s: float) -> MemoryGrowth | Unavailable:
    """Growth of resident memory [N] (bytes) at times t_s [N] (seconds), its 95% interval, and a verdict.

    The slope is Theil and Sen's median of the slopes between all pairs of up to 60 medians over time, with Sen's interval (Sen, Estimates
    of the Regression Coefficient Based on Kendall's Tau, Journal of the American Statistical Association 63, 1968), after `warmup_s`.
    verdict: "leak" if all of the following hold: the interval lies above 0, the growth exceeds the kernel's inaccuracy, the median of each
    fifth is above that of the previous one, and the second half grows by at least 0.3 of the first half's growth. An allocator that warms
    up grows less and less, so it is "no leak". So is a growth below `detectable_mb_per_hour`. Unavailable if the run is too short.
    """
    known = np.isfinite(rss_bytes) & (t_s >= warmup_s)
    t, rss = t_s[known], rss_bytes[known] / _MB
    if len(t) == 0:
        return Unavailable(unavailable="the device does not report the memory of a process")
    span = float(t[-1] - t[0])
    if span < _MIN_S or len(t) < _MIN_POINTS:
        why = f"{span:.0f} s with {len(t)} readings are too short to show a leak; it takes at least {_MIN_S:.0f} s"
        return Unavailable(unavailable=why)
    t, rss = _thinned(t, rss)
    slope, low, high = _slope(t, rss)
    half = len(t) // 2
    first, second = (_slope(t[part], rss[part])[0] for part in (slice(half), slice(half, None)))
    growth = slope * span
    # Fluctuating memory may rise from begin to end, but it hardly ever rises from each part to the next.
    rises = bool(np.all(np.diff([np.median(part) for part in np.array_split(rss, _PARTS)]) > 0))
    leaks = low > 0 and growth > _RESOLUTION_MB and rises and second > _GOES_ON * max(first, 0)
    hour = 3600.0
    return MemoryGrowth(
        verdict="leak" if leaks else "no leak",
        mb_per_hour=slope * hour,
        interval=(low * hour, high * hour),
        first_half_mb_per_hour=first * hour,
        second_half_mb_per_hour=second * hour,
        detectable_mb_per_hour=_RESOLUTION_MB / span * hour,
        start_mb=float(rss[0]),
        end_mb=float(rss[-1]),
    )


def _thinned(t: np.ndarray, rss: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most 60 medians over equal periods: the number of pairs is quadratic, and successive readings are correlated."""
    place = np.minimum(((t - t[0]) / (t[-1] - t[0]) * _POINTS).astype(int), _POINTS - 1)
    some = np.unique(place)
    return np.array([np.median(t[place == p]) for p in some]), np.array([np.median(rss[place == p]) for p in some])


def _slope(t: np.ndarray, values: np.ndarray) -> tuple[float, float, float]:
    """Theil and Sen's slope of `values` [N] at the distinct times t [N], and its 95% interval by Sen's ranks, corrected for ties."""
    first, second = np.triu_indices(len(t), k=1)
    slopes = np.sort((values[second] - values[first]) / (t[second] - t[first]))
    n, ties = len(t), np.unique(values, return_counts=True)[1]
    variance = (n * (n - 1) * (2 * n + 5) - np.sum(ties * (ties - 1) * (2 * ties + 5))) / 18
    half = NormalDist().inv_cdf(0.975) * math.sqrt(variance)
    low, high = max(round((len(slopes) - half) / 2) - 1, 0), min(round((len(slopes) + half) / 2), len(slopes) - 1)
    return float(np.median(slopes)), float(slopes[low]), float(slopes[high])
