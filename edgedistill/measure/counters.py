"""The rate of a counter that moves in steps, with the error that the steps make."""

from dataclasses import dataclass
from math import sqrt

import numpy as np

# With fewer the error of one step is more than a quarter.
_MIN_STEPS = 4
_Z = 1.959964
# Pairs grow with the square; so many points know the slope far better than the steps do.
_MAX_POINTS = 1000


@dataclass(frozen=True)
class Rate:
    """Units of the counter a second: the estimate and the bounds of its interval."""

    value: float
    low: float
    high: float


def counter_rate(t_s: np.ndarray, counts: np.ndarray, step: float | None) -> Rate | str:
    """How fast a counter moves, or why that cannot be told and how long it would take.

    t_s, counts: float64 [N], ascending in time. step: the counter's resolution, see `resolution`; None when it was never seen to move.

    Between its moves a counter tells nothing, so only the moves are used: at some time after the reading before a move and up to the
    reading behind it, the true count was within one step above the new value. That also holds where the counter itself is brought up to
    date only now and then. The estimate is Theil and Sen's median of the slopes through the moves (Sen, Journal of the American
    Statistical Association 63, 1968). The interval is what steps and reading times allow, the count between first and last move being
    off by one step and their times by a reading, or Sen's 95% interval of the slope where that is wider.
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
    """The greatest common divisor of the moves of a counter, as whole numbers of its unit, in one or more series; None when none moved."""
    moves = np.abs(np.concatenate([np.diff(counts) for counts in series]))
    whole = np.unique(np.rint(moves[moves > 0]).astype(np.int64))
    return float(max(1, np.gcd.reduce(whole))) if len(whole) else None


def _theil_sen(t_s: np.ndarray, counts: np.ndarray) -> tuple[float, float, float]:
    """Median of the slopes of all pairs, and Sen's 95% interval by the variance of Kendall's S; the median thrice with few points."""
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
