"""Computes the energy of an inference: the power under load minus the power of the idle device."""

from collections.abc import Iterable
from itertools import pairwise
from math import hypot

import numpy as np

from edgedistill.measure.power import FINDERS, FLAGS, AllSeries, Power, sampled
from edgedistill.measure.runner.record_types import Record
from edgedistill.measure.series import between, series_of
from edgedistill.records import Unavailable
from edgedistill.records.measurements import Energy

_NO_IDLE = "the power of the idle device was not measured before the load"


def energy(
    load: AllSeries, idle: AllSeries | None, begins_s: np.ndarray, ends_s: np.ndarray, *, sensor: str | None = None
) -> Energy | Unavailable:
    """The energy of an inference, or the reason why it is unavailable.

    load: the series while inferences ran. idle: the series of the idle device before the load. begins_s, ends_s: float64 [n], begin and
    end of each inference on the same clock. sensor: the power sensor to use if there are several, such as power.ina219.

    mj_per_inference is (power_w - idle_w) * window_s / n, in mJ, where window_s is the time from the first inference to the end of the
    last. interval is its 95% interval: the errors of load and idle are independent, so their squares add (JCGM 100:2008, 5.1.2). The
    source is the first of `power.FINDERS` that knows the power of both.
    """
    n = len(begins_s)
    if n == 0:
        return Unavailable(unavailable="no inference was timed")
    start_s, end_s = float(begins_s[0]), float(np.max(ends_s))
    # Check every sweep for external power: a cable that was connected only between two inferences still charged the battery.
    flags = {name: load[name] for name in FLAGS if name in load}
    windows = [between(load, start_s, end_s) | flags, *([idle] if idle is not None else [])]
    reasons, half_known = [], None
    for find in FINDERS if sensor is None else (sampled(sensor),):
        power = find(windows, 0)
        if not isinstance(power, Power):
            reasons += [power] if power else []
            continue
        still = find(windows, 1) if idle is not None else _NO_IDLE
        if isinstance(still, Power):
            return _figures(power, still, end_s - start_s, n)
        reasons.append(f"idle, {still}" if idle is not None and still else _NO_IDLE)
        half_known = half_known or power
    why = "; ".join(dict.fromkeys(reasons)) or "no sensor of this device reports power"
    if half_known:
        return _figures(half_known, why, end_s - start_s, n)
    return Unavailable(unavailable=why)


def energy_of(
    records: Iterable[Record], meters: AllSeries | None = None, *, sensor: str | None = None,
    times: tuple[np.ndarray, np.ndarray] | None = None,
) -> Energy | Unavailable:  # fmt: skip
    """`energy` from the records of a run: the idle window is its `idle` phase, the inferences are those that it timed.

    meters: series of the host's power meters on the device's clock, see `meters.power_series`. times: begin and end of what counts in the
    place of inferences, as `inference_times` gives them.
    """
    records = list(records)
    series = series_of(records) | dict(meters or {})
    phases = [record for record in records if record["type"] == "phase"]
    idle = next(((begin, end) for begin, end in pairwise(phases) if begin["name"] == "idle"), None)
    still = between(series, idle[0]["t_ns"] / 1e9, idle[1]["t_ns"] / 1e9) if idle else None
    return energy(series, still, *(times or inference_times(records)), sensor=sensor)


def inference_times(records: Iterable[Record]) -> tuple[np.ndarray, np.ndarray]:
    """Begin and end of each timed inference, float64 [n] in seconds of the device's monotonic clock, ascending by begin."""
    spans = [np.empty((2, 0))]
    for record in records:
        if record["type"] in ("iterations", "instance"):
            durations = np.array(record["durations_ns"], dtype=np.float64)
            waited = np.array(record.get("waited_ns") or np.zeros(len(durations)), dtype=np.float64)
            ends = record["t0_ns"] + np.cumsum(durations) + np.cumsum(waited)
            spans.append(np.array([ends - durations, ends]))
    begins, ends = np.concatenate(spans, axis=1) / 1e9
    order = np.argsort(begins, kind="stable")
    return begins[order], ends[order]


def _figures(power: Power, idle: Power | str, window_s: float, n: int) -> Energy:
    measured = {"power_w": power.watts, "source": power.source, "window_s": window_s, "n": n}
    if isinstance(idle, str):
        unknown = Unavailable(unavailable=idle)
        return Energy(mj_per_inference=unknown, interval=unknown, idle_w=unknown, **measured)
    net = power.watts - idle.watts
    low = net - hypot(power.watts - power.low, idle.high - idle.watts)
    high = net + hypot(power.high - power.watts, idle.watts - idle.low)
    mj = window_s / n * 1000
    return Energy(mj_per_inference=net * mj, interval=(low * mj, high * mj), idle_w=idle.watts, **measured)
