"""The `stress` part of a measurement document: the sustained speed of a device and its throttling; see docs/stress.md."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from edgedistill.measure.causes import causes, judged
from edgedistill.measure.endurance import battery_hours, headroom, temperatures
from edgedistill.measure.leak import leak
from edgedistill.measure.rates import rates
from edgedistill.measure.series import Series, between, series_of
from edgedistill.measure.statistics import latency_ms, percentile, unavailable
from edgedistill.measure.stress_records import Instance, Loaded, loaded
from edgedistill.measure.throttling import MIN_EFFECT, MIN_WINDOWS, Windows, initial_count, onset, width, windows
from edgedistill.measure.timeline import timeline

_MINUTE_S = 60.0
_GAP_S = 1.0
_EVENTS = ("instance_ready", "instance_died", "aborted")

Records = Sequence[Mapping[str, Any]]


def stress_figures(records: Records) -> dict[str, Any]:
    """The figures of a stress job, with times in seconds since the load began; unavailable if no inference was timed."""
    load = loaded(records)
    if load is None:
        return unavailable("no instance ran an inference under the load")
    series = between(series_of(records), load.t0_s, load.t0_s + load.ran_s)
    ends, durations = load.pooled()
    warmup = warmup_s(load.asked_s)
    start = next(record for record in records if record["type"] == "stress_start")
    return {
        "mode": load.mode,
        "instances": start["instances"],
        "asked_s": load.asked_s,
        "ran_s": load.ran_s,
        "ended": next((record["ended"] for record in records if record["type"] == "stress_end"), "died"),
        "warmup_s": warmup,
        "throughput": _throughput(load, ends, durations, warmup),
        "throttling": _throttling(load, ends, durations, warmup, series),
        "latency_ms": _latency_ms(durations),
        "by_minute": _by_minute(ends, durations, load.asked_s),
        "rate": _rate(records, load),
        "temperature": temperatures(series, load.t0_s),
        "headroom": headroom(series),
        "battery_hours": battery_hours(series),
        "memory": [{"instance": one.index, **leak(one.batch_end_s, one.rss_bytes, _leak_warmup(load.asked_s))} for one in load.instances],
        "outputs": {"checked": sum(one.checked for one in load.instances), "changed": sum(one.changed for one in load.instances)},
        "gaps": _gaps(load, records),
        "events": _events(records, load.t0_s),
        "unguarded": next((record["unguarded"] for record in records if record["type"] == "stress_end"), []),
        "harness_cpu_share": _harness_share(records, load),
        "timeline": timeline(load, series),
    }


def warmup_s(asked_s: float) -> float:
    """Seconds that are left out at the beginning: 5, or less in a short run."""
    return min(5.0, 0.1 * asked_s)


def _leak_warmup(asked_s: float) -> float:
    """Seconds until allocators settle, which takes longer than the speed: a fifth of the run, at most a minute."""
    return min(_MINUTE_S, 0.2 * asked_s)


def _throughput(load: Loaded, ends: np.ndarray, durations: np.ndarray, warmup: float) -> dict[str, Any]:
    """Inferences per second in the initial part and in the last third.

    A continuous load counts them per second of the clock. At a rate or in bursts the load waits by itself, so only the time spent in
    inferences counts.
    """
    step = width(durations)
    count = int((load.ran_s - warmup) / step)
    if count < MIN_WINDOWS:
        return unavailable(f"{load.ran_s:.0f} s are too short: at least {MIN_WINDOWS} windows of {step:.3g} s after the warm-up are needed")
    place = np.floor((ends - warmup) / step).astype(np.int64)
    inside = (place >= 0) & (place < count)
    counts = np.bincount(place[inside], minlength=count)
    busy = np.bincount(place[inside], weights=durations[inside], minlength=count) / len(load.instances)
    clock = load.mode == "continuous"
    parts = {"initial": np.arange(initial_count(count)), "sustained": np.arange(count - count // 3, count)}
    if not clock and any(busy[places].sum() == 0 for places in parts.values()):
        return unavailable("no inference ran in the first or in the last part of the run")
    throughput = rates(counts, np.full(count, step) if clock else busy, parts)
    spans = {name: [warmup + places[0] * step, warmup + (places[-1] + 1) * step] for name, places in parts.items()}
    for name, span in spans.items():
        throughput[name]["from_s"], throughput[name]["to_s"] = (float(bound) for bound in span)
    return throughput | {"unit": "inferences/s", "of": "time by the clock" if clock else "time spent in inferences"}


def _throttling(load: Loaded, ends: np.ndarray, durations: np.ndarray, warmup: float, series: Mapping[str, Series]) -> dict[str, Any]:
    means = windows(ends, durations, warmup)
    if len(means.t_s) < MIN_WINDOWS:
        why = f"{load.ran_s:.0f} s are too short to decide: it takes {MIN_WINDOWS} windows of {width(durations):.3g} s after the warm-up"
        return {"time_s": unavailable(why), "text": f"throttling unavailable: {why}"}
    place = onset(means)
    if place is None:
        return {"time_s": None, "text": f"did not throttle in {load.ran_s:.0f} s"}
    initial = (load.t0_s + warmup, load.t0_s + float(means.t_s[initial_count(len(means.t_s)) - 1]))
    explanations = causes(series, load.t0_s + place.t_s, (initial[0], min(initial[1], load.t0_s + place.t_s)))
    rise = place.after / place.before - 1
    # Without such a sensor, other work on the device may equally well be the reason.
    device = any(explanation["sensor"] != "load.others" for explanation in explanations)
    if explanations:
        text = ", ".join(dict.fromkeys(explanation["cause"] for explanation in explanations))
    else:
        text = "unexplained: " + (
            "no sensor of frequency, throttling or other load changed" if judged(series) else "no sensor reports frequency or throttling"
        )
    return {
        "time_s": place.t_s,
        "before_ms": 1e3 * place.before,
        "after_ms": 1e3 * place.after,
        "rise": rise,
        "slow_share": _slow_share(means, place.t_s, place.before),
        "causes": explanations,
        "text": f"{'throttled' if device else 'slowed down'} after {place.t_s:.0f} s: an inference took {100 * rise:.0f}% longer ({text})",
    }


def _slow_share(means: Windows, time_s: float, before: float) -> float:
    """The share of the time since the onset in which inferences took at least 5% longer than initially; 1 if the device never recovered."""
    return float(np.mean(means.seconds[means.t_s >= time_s] > before * (1 + MIN_EFFECT)))


def _by_minute(ends: np.ndarray, durations: np.ndarray, asked_s: float) -> list[dict[str, Any]]:
    """Latency in each minute. The few inferences that end after the last minute belong to it."""
    minute = np.minimum(np.floor(ends / _MINUTE_S), np.ceil(asked_s / _MINUTE_S) - 1).astype(int)
    return [{"minute": int(m) + 1, **_latency_ms(durations[minute == m])} for m in np.unique(minute)]


def _latency_ms(durations_s: np.ndarray) -> dict[str, Any]:
    # There may be millions of samples, so they stay an array.
    return latency_ms(cast(Sequence[int], durations_s * 1e9))


def _rate(records: Records, load: Loaded) -> dict[str, Any] | None:
    """Requested and achieved inferences per second of an instance, and their lateness in ms; None if no rate was requested."""
    if load.mode != "rate":
        return None
    asked = next(record["rate_hz"] for record in records if record["type"] == "stress_start")
    late = np.concatenate([one.late_s for one in load.instances]) * 1e3
    achieved = sum(len(one.begin_s) for one in load.instances) / len(load.instances) / load.ran_s
    lateness = {f"p{q}": percentile(cast(Sequence[float], late), q) for q in (50, 95, 99)} | {"max": float(late.max())}
    return {"asked_hz": asked, "achieved_hz": achieved, "late_ms": lateness}


def _gaps(load: Loaded, records: Records) -> list[dict[str, Any]]:
    """Periods in which an instance ran nothing, beyond its requested pause plus 1 s: it was stopped, or records were lost."""
    start = next(record for record in records if record["type"] == "stress_start")
    pause = {"continuous": 0.0, "rate": 1 / (start["rate_hz"] or 1), "bursts": start["pause_s"] or 0.0}[load.mode]
    dead = {record["index"] for record in records if record["type"] == "instance_died"}
    return [gap for one in load.instances for gap in _gaps_of(one, pause + _GAP_S, load.ran_s, died=one.index in dead)]


def _gaps_of(one: Instance, min_s: float, ran_s: float, *, died: bool) -> list[dict[str, Any]]:
    begins, ends = np.append(one.batch_begin_s, ran_s), np.append(0.0, one.batch_end_s)
    idle = (begins - ends)[: -1 if died else None]
    return [{"instance": one.index, "from_s": float(ends[i]), "seconds": float(idle[i])} for i in np.flatnonzero(idle > min_s)]


def _events(records: Records, t0_s: float) -> list[dict[str, Any]]:
    """Instances that became ready or died, and limits that were exceeded."""
    events = []
    for record in records:
        if record["type"] in _EVENTS:
            event = {"event": record["type"], **{key: value for key, value in record.items() if key not in ("type", "t_ns")}}
            events.append(event | ({"t_s": record["t_ns"] / 1e9 - t0_s} if "t_ns" in record else {}))
    return events


def _harness_share(records: Records, load: Loaded) -> float | dict[str, Any]:
    """Processor time of the recording process as a share of one core: the cost of the harness."""
    end = next((record for record in records if record["type"] == "stress_end"), None)
    return unavailable("the load did not end by itself") if end is None else end["cpu_ns"] / 1e9 / max(load.ran_s, 1e-9)
