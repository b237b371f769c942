"""Figures that a measurement on a device holds: each with the upper end of its interval, and of how many samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgedistill.records import Latency, Unavailable
from edgedistill.records.gate import Unit
from edgedistill.records.generation import Generation, GenerationEnergy, Intervals
from edgedistill.records.measurements import Energy, Measurement

_Read = tuple[float | Unavailable, float | None, int | None]


def setup(one: Measurement) -> str:
    """When, where and with what a measurement was made."""
    threads = f"{one.threads} thread" + ("s" if one.threads != 1 else "")
    number = "" if one.id is None else f"measurement {one.id}, "
    where = f"{number}{one.created}, {one.device.spec}, {one.build}, {threads}, preset {one.protocol.preset}"
    return f"{where}; the bound is the upper end of the 95% interval"


def _p95(latency: Latency | Unavailable, intervals: Intervals | Unavailable) -> _Read:
    if isinstance(latency, Unavailable):
        return latency, None, None
    interval = intervals if isinstance(intervals, Unavailable) else intervals.p95
    # A quantile without an interval may be that of a lucky minute.
    if isinstance(latency.p95, Unavailable) or isinstance(interval, Unavailable):
        return (latency.p95 if isinstance(latency.p95, Unavailable) else interval), None, None  # type: ignore[return-value]
    return latency.p95, interval[1], latency.n if isinstance(latency.n, int) else None


def latency(one: Measurement) -> _Read:
    """The p95 of an inference."""
    return _p95(one.latency_ms, one.intervals_ms)


def _by_prompt(one: Measurement, read: Callable[[Any], _Read]) -> _Read:
    """The worst of all lengths of prompts; one that is unavailable makes the whole so."""
    if not isinstance(one.generation, Generation):
        return one.generation or Unavailable(unavailable="the file keeps no state, so it writes no tokens"), None, None
    every = [read(each) for each in one.generation.by_prompt]
    unknown = next((each for each in every if isinstance(each[0], Unavailable)), None)
    return unknown or max(every, key=lambda each: each[1] or 0.0)


def _first_token(one: Measurement) -> _Read:
    return _by_prompt(one, lambda each: _p95(each.first_token.latency_ms, each.first_token.intervals_ms))


def _next_token(one: Measurement) -> _Read:
    def read(each: Any) -> _Read:
        times = each.next_token
        return (times, None, None) if isinstance(times, Unavailable) else _p95(times.latency_ms, times.intervals_ms)

    return _by_prompt(one, read)


def _energy(one: Measurement) -> _Read:
    if isinstance(one.generation, Generation):
        return _by_prompt(one, lambda each: _of_energy(each.energy))
    return _of_energy(one.energy)


def _of_energy(energy: Energy | GenerationEnergy | Unavailable | None) -> _Read:
    if energy is None or isinstance(energy, Unavailable):
        return energy or Unavailable(unavailable="the device reported no power"), None, None
    value = energy.mj_per_token if isinstance(energy, GenerationEnergy) else energy.mj_per_inference
    if isinstance(value, Unavailable) or isinstance(energy.interval, Unavailable):
        return (value if isinstance(value, Unavailable) else energy.interval), None, None  # type: ignore[return-value]
    return value, energy.interval[1], energy.n


FIGURES: dict[str, tuple[str, Unit, Callable[[Measurement], _Read]]] = {
    "p95_ms": ("Latency, p95", "ms", latency),
    "first_token_p95_ms": ("Time to the first token, p95", "ms", _first_token),
    "next_token_p95_ms": ("Time of a further token, p95", "ms", _next_token),
    "energy_mj": ("Energy", "mJ", _energy),
}
"""By the name of a limit: its title, its unit, and what reads value, bound and number of samples."""
