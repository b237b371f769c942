"""Reduces series for drawing to a few points, each with the minimum, median and maximum of its period, so that no peak is hidden."""

from collections.abc import Iterable, Mapping

import numpy as np

from edgedistill.measure.energy import inference_times
from edgedistill.measure.runner.record_types import Record
from edgedistill.measure.series import Series, between
from edgedistill.measure.stress_records import Loaded
from edgedistill.records.measurements import Course

_POINTS = 240
_DRAWN = ("temperature.", "frequency.", "power.", "battery.", "thermal.", "throttled.", "memory.", "load.")


def timeline(load: Loaded, series: Mapping[str, Series]) -> dict[str, Course]:
    """The latency, each instance's memory and the sensors over time, by name, with at most 240 points each."""
    ends, durations = load.pooled()
    courses = {"latency": course("ms", ends, durations * 1e3, load.ran_s)}
    for instance in load.instances:
        known = np.isfinite(instance.rss_bytes)
        if known.any():
            megabytes = instance.rss_bytes[known] / 1e6
            courses[f"memory.instance{instance.index}"] = course("MB", instance.batch_end_s[known], megabytes, load.ran_s)
    return courses | _sensors(series, load.t0_s, load.ran_s)


def bench_timeline(records: Iterable[Record], series: Mapping[str, Series]) -> dict[str, Course]:
    """The same for the records of a benchmark, from its first timed inference to its last; empty without one."""
    begins, ends = inference_times(records)
    if not len(begins):
        return {}
    t0_s, span_s = float(begins[0]), float(ends[-1] - begins[0])
    during = between(series, t0_s, t0_s + span_s)
    return {"latency": course("ms", ends - t0_s, (ends - begins) * 1e3, span_s), **_sensors(during, t0_s, span_s)}


def _sensors(series: Mapping[str, Series], t0_s: float, span_s: float) -> dict[str, Course]:
    drawn = {name: sensor for name, sensor in series.items() if name.startswith(_DRAWN) and len(sensor.values)}
    return {name: course(sensor.unit, sensor.t_s - t0_s, sensor.values, span_s) for name, sensor in drawn.items()}


def course(unit: str, t_s: np.ndarray, values: np.ndarray, span_s: float, points: int = _POINTS) -> Course:
    """Minimum, median and maximum of `values` [N] at times t_s [N] in each of `points` equal periods of [0, span_s]."""
    step = span_s / points
    place = np.clip((t_s / step).astype(int), 0, points - 1)
    order = np.argsort(place, kind="stable")
    groups = np.split(values[order], np.flatnonzero(np.diff(place[order])) + 1)
    some = np.unique(place)
    return Course(
        unit=unit,
        t_s=_rounded((some + 0.5) * step),
        low=_rounded([group.min() for group in groups]),
        median=_rounded([np.median(group) for group in groups]),
        high=_rounded([group.max() for group in groups]),
    )


def _rounded(values: Iterable[float]) -> list[float]:
    # Six digits are more than a drawing can show, and take a third of the bytes.
    return [float(f"{value:.6g}") for value in values]
