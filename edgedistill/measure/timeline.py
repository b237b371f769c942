"""Series for drawing: few points that hide nothing, each with the least, the median and the greatest of what it stands for."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from edgedistill.measure.energy import inference_times
from edgedistill.measure.series import Series, between
from edgedistill.measure.stress_records import Loaded

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
    return found | _sensors(series, load.t0_s, load.ran_s)


def bench_timeline(records: Iterable[Mapping[str, Any]], series: Mapping[str, Series]) -> dict[str, Any]:
    """The same of a benchmark's records, from its first timed inference to its last; empty without one."""
    begins, ends = inference_times(records)
    if not len(begins):
        return {}
    t0_s, span_s = float(begins[0]), float(ends[-1] - begins[0])
    during = between(series, t0_s, t0_s + span_s)
    return {"latency": {"unit": "ms"} | buckets(ends - t0_s, (ends - begins) * 1e3, span_s), **_sensors(during, t0_s, span_s)}


def _sensors(series: Mapping[str, Series], t0_s: float, span_s: float) -> dict[str, Any]:
    chosen = {name: one for name, one in series.items() if name.startswith(_DRAWN) and len(one.values)}
    return {name: {"unit": one.unit} | buckets(one.t_s - t0_s, one.values, span_s) for name, one in chosen.items()}


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
