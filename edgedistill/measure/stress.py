"""The `stress` part of a measurement document: the sustained speed of a device and its throttling; see docs/stress.md."""

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np

from edgedistill.measure.causes import causes, judged
from edgedistill.measure.endurance import battery_hours, headroom, temperatures
from edgedistill.measure.leak import leak
from edgedistill.measure.rates import rates
from edgedistill.measure.runner.record_types import Record
from edgedistill.measure.series import Series, between, series_of
from edgedistill.measure.statistics import latency_ms, percentile
from edgedistill.measure.stress_records import Instance, Loaded, loaded
from edgedistill.measure.throttling import MIN_EFFECT, MIN_WINDOWS, Windows, initial_count, onset, width, windows
from edgedistill.measure.timeline import timeline
from edgedistill.records import Latency, Unavailable
from edgedistill.records.stress import (
    Aborted,
    Event,
    Gap,
    InstanceDied,
    InstanceMemory,
    InstanceReady,
    Lateness,
    MinuteLatency,
    PartRate,
    Rate,
    RepeatedOutputs,
    StressFigures,
    Throttling,
    Throughput,
    UnknownMemory,
)

_MINUTE_S = 60.0
_GAP_S = 1.0

Records = Sequence[Record]


def stress_figures(records: Records) -> StressFigures | Unavailable:
    """The figures of a stress job, with times in seconds since the load began; unavailable if no inference was timed."""
    load = loaded(records)
    if load is None:
        return Unavailable(unavailable="no instance ran an inference under the load")
    series = between(series_of(records), load.t0_s, load.t0_s + load.ran_s)
    ends, durations = load.pooled()
    warmup = warmup_s(load.asked_s)
    start = next(record for record in records if record["type"] == "stress_start")
    end = next((record for record in records if record["type"] == "stress_end"), None)
    unknown = Unavailable(unavailable="the load did not end by itself")
    return StressFigures(
        mode=load.mode,
        instances=start["instances"],
        asked_s=load.asked_s,
        ran_s=load.ran_s,
        ended=end["ended"] if end else "died",
        warmup_s=warmup,
        throughput=_throughput(load, ends, durations, warmup),
        throttling=_throttling(load, ends, durations, warmup, series),
        latency_ms=_latency_ms(durations),
        by_minute=_by_minute(ends, durations, load.asked_s),
        rate=_rate(records, load),
        temperature=temperatures(series, load.t0_s),
        headroom=headroom(series),
        battery_hours=battery_hours(series),
        memory=[_memory(instance, _leak_warmup(load.asked_s)) for instance in load.instances],
        outputs=RepeatedOutputs(
            checked=sum(instance.checked for instance in load.instances), changed=sum(instance.changed for instance in load.instances)
        ),
        gaps=_gaps(load, records),
        events=_events(records, load.t0_s),
        unguarded=end["unguarded"] if end else [],
        harness_cpu_share=end["cpu_ns"] / 1e9 / max(load.ran_s, 1e-9) if end else unknown,
        timeline=timeline(load, series),
    )


def warmup_s(asked_s: float) -> float:
    """Seconds that are left out at the beginning: 5, or less in a short run."""
    return min(5.0, 0.1 * asked_s)


def _leak_warmup(asked_s: float) -> float:
    """Seconds until allocators settle, which takes longer than the speed: a fifth of the run, at most a minute."""
    return min(_MINUTE_S, 0.2 * asked_s)


def _throughput(load: Loaded, ends: np.ndarray, durations: np.ndarray, warmup: float) -> Throughput | Unavailable:
    """Inferences per second in the initial part and in the last third.

    A continuous load counts them per second of the clock. At a rate or in bursts the load waits by itself, so only the time spent in
    inferences counts.
    """
    step = width(durations)
    count = int((load.ran_s - warmup) / step)
    if count < MIN_WINDOWS:
        why = f"{load.ran_s:.0f} s are too short: at least {MIN_WINDOWS} windows of {step:.3g} s after the warm-up are needed"
        return Unavailable(unavailable=why)
    place = np.floor((ends - warmup) / step).astype(np.int64)
    inside = (place >= 0) & (place < count)
    counts = np.bincount(place[inside], minlength=count)
    busy = np.bincount(place[inside], weights=durations[inside], minlength=count) / len(load.instances)
    clock = load.mode == "continuous"
    parts = {"initial": np.arange(initial_count(count)), "sustained": np.arange(count - count // 3, count)}
    if not clock and any(busy[places].sum() == 0 for places in parts.values()):
        return Unavailable(unavailable="no inference ran in the first or in the last part of the run")
    estimates = rates(counts, np.full(count, step) if clock else busy, parts)
    rated = {
        name: PartRate(**dict(estimates[name]), from_s=float(warmup + places[0] * step), to_s=float(warmup + (places[-1] + 1) * step))
        for name, places in parts.items()
    }
    of = "time by the clock" if clock else "time spent in inferences"
    return Throughput(initial=rated["initial"], sustained=rated["sustained"], ratio=estimates["ratio"], unit="inferences/s", of=of)


def _throttling(load: Loaded, ends: np.ndarray, durations: np.ndarray, warmup: float, series: Mapping[str, Series]) -> Throttling:
    means = windows(ends, durations, warmup)
    if len(means.t_s) < MIN_WINDOWS:
        why = f"{load.ran_s:.0f} s are too short to decide: it takes {MIN_WINDOWS} windows of {width(durations):.3g} s after the warm-up"
        return Throttling(time_s=Unavailable(unavailable=why), text=f"throttling unavailable: {why}")
    place = onset(means)
    if place is None:
        return Throttling(time_s=None, text=f"did not throttle in {load.ran_s:.0f} s")
    initial = (load.t0_s + warmup, load.t0_s + float(means.t_s[initial_count(len(means.t_s)) - 1]))
    explanations = causes(series, load.t0_s + place.t_s, (initial[0], min(initial[1], load.t0_s + place.t_s)))
    rise = place.after / place.before - 1
    # Without such a sensor, other work on the device may equally well be the reason.
    device = any(explanation.sensor != "load.others" for explanation in explanations)
    if explanations:
        text = ", ".join(dict.fromkeys(explanation.cause for explanation in explanations))
    else:
        text = "unexplained: " + (
            "no sensor of frequency, throttling or other load changed" if judged(series) else "no sensor reports frequency or throttling"
        )
    return Throttling(
        time_s=place.t_s,
        before_ms=1e3 * place.before,
        after_ms=1e3 * place.after,
        rise=rise,
        slow_share=_slow_share(means, place.t_s, place.before),
        causes=explanations,
        text=f"{'throttled' if device else 'slowed down'} after {place.t_s:.0f} s: an inference took {100 * rise:.0f}% longer ({text})",
    )


def _slow_share(means: Windows, time_s: float, before: float) -> float:
    """The share of the time since the onset in which inferences took at least 5% longer than initially; 1 if the device never recovered."""
    return float(np.mean(means.seconds[means.t_s >= time_s] > before * (1 + MIN_EFFECT)))


def _by_minute(ends: np.ndarray, durations: np.ndarray, asked_s: float) -> list[MinuteLatency]:
    """Latency in each minute. The few inferences that end after the last minute belong to it."""
    minute = np.minimum(np.floor(ends / _MINUTE_S), np.ceil(asked_s / _MINUTE_S) - 1).astype(int)
    return [MinuteLatency(minute=int(m) + 1, **dict(_latency_ms(durations[minute == m]))) for m in np.unique(minute)]


def _latency_ms(durations_s: np.ndarray) -> Latency:
    # There may be millions of samples, so they stay an array.
    return latency_ms(cast(Sequence[int], durations_s * 1e9))


def _rate(records: Records, load: Loaded) -> Rate | None:
    """Requested and achieved inferences per second of an instance, and their lateness; None if no rate was requested."""
    if load.mode != "rate":
        return None
    asked = next(record["rate_hz"] for record in records if record["type"] == "stress_start")
    late_ms = np.concatenate([instance.late_s for instance in load.instances]) * 1e3
    achieved = sum(len(instance.begin_s) for instance in load.instances) / len(load.instances) / load.ran_s
    p50, p95, p99 = (percentile(cast(Sequence[float], late_ms), q) for q in (50, 95, 99))
    return Rate(asked_hz=asked, achieved_hz=achieved, late_ms=Lateness(p50=p50, p95=p95, p99=p99, max=float(late_ms.max())))


def _memory(instance: Instance, warmup_s: float) -> InstanceMemory | UnknownMemory:
    growth = leak(instance.batch_end_s, instance.rss_bytes, warmup_s)
    if isinstance(growth, Unavailable):
        return UnknownMemory(instance=instance.index, unavailable=growth.unavailable)
    return InstanceMemory(instance=instance.index, **dict(growth))


def _gaps(load: Loaded, records: Records) -> list[Gap]:
    """Periods in which an instance ran nothing, beyond its requested pause plus 1 s: it was stopped, or records were lost."""
    start = next(record for record in records if record["type"] == "stress_start")
    pause = {"continuous": 0.0, "rate": 1 / (start["rate_hz"] or 1), "bursts": start["pause_s"] or 0.0}[load.mode]
    dead = {record["index"] for record in records if record["type"] == "instance_died"}
    return [gap for instance in load.instances for gap in _gaps_of(instance, pause + _GAP_S, load.ran_s, died=instance.index in dead)]


def _gaps_of(instance: Instance, min_s: float, ran_s: float, *, died: bool) -> list[Gap]:
    begins, ends = np.append(instance.batch_begin_s, ran_s), np.append(0.0, instance.batch_end_s)
    idle = (begins - ends)[: -1 if died else None]
    return [Gap(instance=instance.index, from_s=float(ends[i]), seconds=float(idle[i])) for i in np.flatnonzero(idle > min_s)]


def _events(records: Records, t0_s: float) -> list[Event]:
    """Instances that became ready or died, and limits that were exceeded."""
    events: list[Event] = []
    for record in records:
        if record["type"] == "instance_ready":
            events.append(InstanceReady.model_validate(record))
        elif record["type"] == "instance_died":
            events.append(InstanceDied(**record, t_s=record["t_ns"] / 1e9 - t0_s))
        elif record["type"] == "aborted":
            events.append(Aborted(**record, t_s=record["t_ns"] / 1e9 - t0_s))
    return events
