"""Computes the throughput in parts of a run, with intervals that account for disturbances of some seconds."""

from typing import Any

import numpy as np

_RESAMPLED = 999
_BLOCK = 5


def rates(counts: np.ndarray, seconds: np.ndarray, parts: dict[str, np.ndarray], seed: int = 0) -> dict[str, Any]:
    """Inferences per second in each of two `parts`, and the ratio of the second to the first: {name or "ratio": {"value", "interval"}}.

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
    return {name: {"value": float(value), "interval": _interval(resampled[name])} for name, value in values.items()}


def _rate(counts: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    return counts / seconds


def _interval(values: np.ndarray) -> list[float]:
    return [float(bound) for bound in np.quantile(values, (0.025, 0.975))]
