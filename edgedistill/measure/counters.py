"""Estimates the rate of a counter that moves in steps, with the error due to the steps."""

from dataclasses import dataclass
from math import sqrt

import numpy as np

# With fewer steps the error of one step exceeds a quarter.
_MIN_STEPS = 4
_Z = 1.959964
# The number of pairs is quadratic. With this many points the slope is far more accurate than the steps allow.
_MAX_POINTS = 1000


@dataclass(frozen=True)
class Rate:
    """Units of the counter per second: the estimate and the bounds of its interval."""

    value: float
    low: float
    high: float


def counter_rate(t_s: np.ndarray, counts: np.ndarray, step: float | None) -> Rate | str:
    """The rate of a counter, or the reason why it is unknown and how long measuring it would take.

    t_s, counts: float64 [N], ascending in time. step: the counter's resolution, see `resolution`; None if it never moved.

    Between two moves a counter carries no information, so only the moves count. At some time between the reading before a move and the
    reading after it, the true count was within one step above the new value. This also holds if the counter itself is updated only from
    time to time. The estimate is Theil and Sen's median of the slopes through the moves (Sen, Journal of the American Statistical
    Association 63, 1968). The interval is the wider of two: the one that steps and reading times allow (the count between the first and
    the last move is off by one step, their times by one reading), and Sen's 95% interval of the slope.
    """
    span = float(t_s[-1] - t_s[0]) if len(t_s) else 0.0
    moves = np.flatnonzero(np.diff(counts)) + 1
    if len(moves) < 2 or step is None:
        moved = "did not move" if len(moves) == 0 else "moved once"
        return f"the counter {moved} within {span:.0f} s, so measuring it takes more than {span * (_MIN_STEPS + 1):.0f} s"
    first, last = moves[0], moves[-1]
    gone = abs(float(counts[last] - counts[first]))
    if gone < _MIN_STEPS * step:
        made = gone / step + 1
        needed = span * (_MIN_STEPS + 1) / made
        return f"the counter has steps of {step:g} and made {made:.0f} within {span:.0f} s, so measuring it takes about {needed:.0f} s"
    sign = 1.0 if counts[last] > counts[first] else -1.0
    middle, spread_low, spread_high = _theil_sen((t_s[moves] + t_s[moves - 1]) / 2, counts[moves] * sign)
    longest, shortest = float(t_s[last] - t_s[first - 1]), float(t_s[last - 1] - t_s[first])
    low = min((gone - step) / longest, spread_low)
    high = max((gone + step) / shortest if shortest > 0 else float("inf"), spread_high)
    return Rate(middle, low, high) if sign > 0 else Rate(-middle, -high, -low)


def resolution(*series: np.ndarray) -> float | None:
    """The greatest common divisor of a counter's moves in one or more series, in whole units; None if it never moved."""
    moves = np.abs(np.concatenate([np.diff(counts) for counts in series]))
    whole = np.unique(np.rint(moves[moves > 0]).astype(np.int64))
    return float(max(1, np.gcd.reduce(whole))) if len(whole) else None


def _theil_sen(t_s: np.ndarray, counts: np.ndarray) -> tuple[float, float, float]:
    """Median of the slopes of all pairs, and Sen's 95% interval by the variance of Kendall's S; three times the median for few points."""
    if len(t_s) > _MAX_POINTS:
        chosen = np.linspace(0, len(t_s) - 1, _MAX_POINTS).round().astype(int)
        t_s, counts = t_s[chosen], counts[chosen]
    n = len(t_s)
    i, j = np.triu_indices(n, 1)
    slopes = np.sort((counts[j] - counts[i]) / (t_s[j] - t_s[i]))
    middle = float(np.median(slopes))
    half = _Z * sqrt(n * (n - 1) * (2 * n + 5) / 18)
    lower, upper = int((len(slopes) - half) / 2), int((len(slopes) + half) / 2) + 1
    if lower < 0 or upper >= len(slopes):
        return middle, middle, middle
    return middle, float(slopes[lower]), float(slopes[upper])
