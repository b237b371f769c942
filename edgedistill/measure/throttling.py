"""Finds when a device began to throttle, by a changepoint test on the duration of inferences.

The method is Page's one-sided CUSUM chart. A block bootstrap of the run's own noise gives its limit. docs/stress.md describes how it was
calibrated and what it detects.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from edgedistill.measure.changepoints import trends

MIN_EFFECT = 0.05
"""Smallest relative rise of the time per inference that counts as throttling."""
WINDOW_S = 1.0
MIN_WINDOWS = 20
_SMOOTHED = 5
_LASTING = 11
_BLOCK = 60
_RESAMPLED = 999
_FALSE_ALARMS = 0.005


@dataclass(frozen=True)
class Windows:
    """Mean duration of inferences in successive windows, without windows in which none ended. t_s: the middle of each window."""

    t_s: np.ndarray
    seconds: np.ndarray


@dataclass(frozen=True)
class Onset:
    """When the time per inference left its initial level (`t_s`), and the levels before and just after it; all in seconds."""

    t_s: float
    before: float
    after: float


def width(duration_s: np.ndarray) -> float:
    """Length of a window in seconds: 1, or long enough for three inferences of a slow model."""
    return max(WINDOW_S, 3 * float(np.median(duration_s)))


def windows(end_s: np.ndarray, duration_s: np.ndarray, origin_s: float) -> Windows:
    """Mean duration of the inferences in each complete window from `origin_s` on. end_s (ascending), duration_s: [N] in seconds.

    It is a mean, since a quota or a throttled core may halt every tenth inference and leave the median unchanged.
    """
    if len(end_s) == 0:
        return Windows(np.empty(0), np.empty(0))
    step = width(duration_s)
    place = np.floor((end_s - origin_s) / step).astype(np.int64)
    # The last window is incomplete: a single slow inference in it would count as much as hundreds elsewhere.
    keep = (place >= 0) & (place < place[-1])
    counts = np.bincount(place[keep])
    sums = np.bincount(place[keep], weights=duration_s[keep])
    some = np.flatnonzero(counts)
    return Windows(origin_s + (some + 0.5) * step, sums[some] / counts[some])


def initial_count(n: int) -> int:
    """How many of `n` windows define the initial level: a fifth, at least 5 and at most 20."""
    return max(5, min(20, n // 5))


def onset(series: Windows, seed: int = 0) -> Onset | None:
    """The first lasting rise of the time per inference by at least 5% above its initial level, or None.

    Steps: logarithms; a running median of 5 windows; a chart S_i = max(0, S_{i-1} + x_i - level - k), where k is half of the smallest
    effect. An alarm needs two things. First, the chart exceeds the limit that 99.5% of bootstrap series stay below. These series consist of
    blocks of the run's own noise (what lasting changes of its level do not explain), and each has its own initial level. Second, the median
    of the next 11 windows is also 5% above the level, so that the rise lasts. The onset is where the chart, now with k half of the detected
    change, last left zero: for a step this is its most likely place.

    Sources: Page, Continuous Inspection Schemes, Biometrika 41 (1954), the chart; Hinkley, Inference about the change-point from cumulative
    sum tests, Biometrika 58 (1971), the place; Chatterjee and Qiu, Distribution-free CUSUM control charts using bootstrap-based control
    limits, Annals of Applied Statistics 3 (2009), the limit; Künsch, The Jackknife and the Bootstrap for General Stationary Observations,
    Annals of Statistics 17 (1989), blocks.
    """
    n = len(series.t_s)
    if n < MIN_WINDOWS:
        return None
    raw = np.log(series.seconds)
    effect = math.log1p(MIN_EFFECT)
    smooth = _running_median(raw)
    trend, pieces = trends(smooth, effect)
    count = initial_count(n)
    # If the series is flat before its first lasting change, all of that part defines the initial level more accurately.
    if trend[0] == trend[pieces[0][1] - 1]:
        count = max(count, min(pieces[0][1], n // 3))
    level = _level(raw[None, :count])[0]
    chart = _chart(smooth[None, :] - level, effect / 2)[0]
    risen = (chart > 3 * effect / 2) & (smooth - level >= effect) & (_ahead(raw) - level >= effect)
    # Most runs return here and save the bootstrap.
    if not risen.any():
        return None
    alarms = np.flatnonzero(risen & (chart > _limit(raw - trend, count, effect / 2, seed)))
    if len(alarms) == 0:
        return None
    alarm = int(alarms[0])
    after = float(np.median(smooth[alarm : alarm + _SMOOTHED]))
    opened = _last_zero(chart, alarm)
    place = opened + _last_zero(_chart(smooth[None, opened : alarm + 1] - level, (after - level) / 2)[0], alarm - opened)
    half = np.diff(series.t_s).min() / 2
    return Onset(float(series.t_s[place] - half), math.exp(level), math.exp(after))


def _level(first: np.ndarray) -> np.ndarray:
    return np.median(first, axis=1)


def _running_median(values: np.ndarray) -> np.ndarray:
    """Median of 5 windows around each, along the last axis: it keeps edges and drops single outliers."""
    half = _SMOOTHED // 2
    padded = np.pad(values, ((0, 0),) * (values.ndim - 1) + ((half, half),), mode="symmetric")
    return np.median(sliding_window_view(padded, _SMOOTHED, axis=-1), axis=-1)


def _ahead(values: np.ndarray) -> np.ndarray:
    """Median of each window and the 10 after it (fewer at the end): random slow seconds in a row do not last that long."""
    padded = np.pad(values, (0, _LASTING - 1), constant_values=np.nan)
    return np.nanmedian(sliding_window_view(padded, _LASTING), axis=-1)


def _chart(values: np.ndarray, k: float) -> np.ndarray:
    """Page's chart of each row of `values` [rows, n]: the sum minus its running minimum, which equals max(0, S + x - k) step by step."""
    sums = np.cumsum(values - k, axis=1)
    return sums - np.minimum(np.minimum.accumulate(sums, axis=1), 0)


def _last_zero(chart: np.ndarray, alarm: int) -> int:
    """The first window of the rise that raised the alarm: the one after the chart's last zero."""
    zeros = np.flatnonzero(chart[:alarm] <= 0)
    return int(zeros[-1]) + 1 if len(zeros) else 0


def _limit(noise: np.ndarray, count: int, k: float, seed: int) -> float:
    """The height that the chart of `noise` [n] exceeds in 0.5% of such runs, given the level of its first `count` windows."""
    n = len(noise)
    block = max(_SMOOTHED, min(_BLOCK, n // 3))
    generator = np.random.default_rng(seed)
    resampled = _blocks(noise, block, n, generator)
    # The level comes from the beginning, so use the noise of the beginning and not that of a device which throttles on and off. With too
    # few blocks of it the levels would not differ.
    if count >= 3 * block:
        resampled[:, :count] = _blocks(noise[:count], block, count, generator)
    highest = _chart(_running_median(resampled) - _level(resampled[:, :count])[:, None], k).max(axis=1)
    # A short run shows less of its noise. This correction and the share that a change must explain come from simulation.
    return float(np.quantile(highest, 1 - _FALSE_ALARMS, method="higher")) * (1 + 40 / n)


def _blocks(noise: np.ndarray, block: int, n: int, generator: np.random.Generator) -> np.ndarray:
    """Series [resampled, n] of randomly chosen blocks of `noise`."""
    first = generator.integers(0, len(noise) - block + 1, (_RESAMPLED, -(-n // block)))
    return noise[(first[:, :, None] + np.arange(block)).reshape(_RESAMPLED, -1)[:, :n]]
