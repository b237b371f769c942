"""Series for drawing: few points that hide nothing, each with the least, the median and the greatest of what it stands for."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgedistill.measure.loaded import Loaded
from edgedistill.measure.series import Series

_POINTS = 240
_DRAWN = ("temperature.", "frequency.", "power.", "battery.", "thermal.", "throttled.", "memory.", "load.")


def timeline(load: Loaded, series: Mapping[str, Series]) -> dict[str, Any]:
    """{name: {"unit", "t_s", "low", "median", "high"}} of latency, of each instance's memory and of the sensors, in at most 240 points.

    t_s: middle of each stretch of equal time, in seconds since the load began; a stretch without a value is left out.
    """
    ends, durations = load.pooled()
    found = {"latency": {"unit": "ms"} | buckets(ends, durations * 1e3, load.ran_s)}
    for one in load.instances:
        known = np.isfinite(one.rss_bytes)
        if known.any():
            found[f"memory.instance{one.index}"] = {"unit": "MB"} | buckets(one.batch_end_s[known], one.rss_bytes[known] / 1e6, load.ran_s)
    for name, sensor in series.items():
        if name.startswith(_DRAWN):
            found[name] = {"unit": sensor.unit} | buckets(sensor.t_s - load.t0_s, sensor.values, load.ran_s)
    return found


def buckets(t_s: np.ndarray, values: np.ndarray, span_s: float, most: int = _POINTS) -> dict[str, list[float]]:
    """Least, median and greatest of `values` [N] at t_s [N] in each of `most` equal stretches of [0, span_s]: t_s, low, median, high."""
    step = span_s / most
    place = np.clip((t_s / step).astype(int), 0, most - 1)
    order = np.argsort(place, kind="stable")
    groups = np.split(values[order], np.flatnonzero(np.diff(place[order])) + 1)
    some = np.unique(place)
    return {
        "t_s": _rounded((some + 0.5) * step),
        "low": _rounded([group.min() for group in groups]),
        "median": _rounded([np.median(group) for group in groups]),
        "high": _rounded([group.max() for group in groups]),
    }


def _rounded(values: Any) -> list[float]:
    # Six digits are more than a drawing shows, and a third of the bytes.
    return [float(f"{value:.6g}") for value in values]
