"""Throughput of parts of a run, with intervals that allow for what lasts some seconds."""

from typing import Any

import numpy as np

_RESAMPLED = 999
_BLOCK = 5


def rates(counts: np.ndarray, seconds: np.ndarray, parts: dict[str, np.ndarray], seed: int = 0) -> dict[str, Any]:
    """Inferences a second in each of two `parts`, and their ratio: {"value", "interval"} for each name and for "ratio" (second by first).

    counts, seconds [n]: inferences that ended in each window, and the time they had. parts: {name: indices of windows}. The intervals are
    95% percentiles of the moving-block bootstrap, blocks of 5 windows: neighbours are alike (Künsch, The Jackknife and the Bootstrap for
    General Stationary Observations, Annals of Statistics 17, 1989).
    """
    generator = np.random.default_rng(seed)
    values, made = {}, {}
    for name, places in parts.items():
        block = min(_BLOCK, len(places))
        first = generator.integers(0, len(places) - block + 1, (_RESAMPLED, -(-len(places) // block)))
        chosen = places[(first[:, :, None] + np.arange(block)).reshape(_RESAMPLED, -1)[:, : len(places)]]
        values[name] = _rate(counts[places].sum(), seconds[places].sum())
        made[name] = _rate(counts[chosen].sum(axis=1), seconds[chosen].sum(axis=1))
    before, after = parts
    values["ratio"], made["ratio"] = values[after] / values[before], made[after] / made[before]
    return {name: {"value": float(value), "interval": _interval(made[name])} for name, value in values.items()}


def _rate(counts: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    return counts / seconds


def _interval(values: np.ndarray) -> list[float]:
    return [float(bound) for bound in np.quantile(values, (0.025, 0.975))]
