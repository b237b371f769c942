"""Computes the throughput in parts of a run, with intervals that account for disturbances of some seconds."""

import numpy as np

from edgedistill.records.results import Interval
from edgedistill.records.stress import Estimate

_RESAMPLED = 999
_BLOCK = 5


def rates(counts: np.ndarray, seconds: np.ndarray, parts: dict[str, np.ndarray], seed: int = 0) -> dict[str, Estimate]:
    """Inferences per second in each of two `parts` by its name, and as "ratio" that of the second to the first.

    counts, seconds [n]: the inferences that ended in each window, and the time available. parts: {name: indices of windows}. The
    intervals are 95% percentiles of the moving-block bootstrap with blocks of 5 windows, since neighbouring windows are correlated
    (Künsch, The Jackknife and the Bootstrap for General Stationary Observations, Annals of Statistics 17, 1989).
    """
    generator = np.random.default_rng(seed)
    values, resampled = {}, {}
    for name, places in parts.items():
        block = min(_BLOCK, len(places))
        first = generator.integers(0, len(places) - block + 1, (_RESAMPLED, -(-len(places) // block)))
        chosen = places[(first[:, :, None] + np.arange(block)).reshape(_RESAMPLED, -1)[:, : len(places)]]
        values[name] = _rate(counts[places].sum(), seconds[places].sum())
        resampled[name] = _rate(counts[chosen].sum(axis=1), seconds[chosen].sum(axis=1))
    before, after = parts
    values["ratio"], resampled["ratio"] = values[after] / values[before], resampled[after] / resampled[before]
    return {name: Estimate(value=float(value), interval=_interval(resampled[name])) for name, value in values.items()}


def _rate(counts: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    return counts / seconds


def _interval(values: np.ndarray) -> Interval:
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)
