"""Aligns the device's clock with the host's, for meters whose samples the host time-stamps."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from edgedistill.errors import DeviceFailed
from edgedistill.measure.devices.base import Device
from edgedistill.measure.runner.record_types import Record
from edgedistill.records.measurements import ClockJump

# Quartz clocks are within some tens of ppm, and NTP slews a monotonic clock by up to 500 ppm.
_MAX_DRIFT = 500e-6
# /proc/uptime has a resolution of 10 ms and rounds down.
_UPTIME_STEP_S = 0.01
_MIN_SPAN_S = 10.0
_JUMP_S = 0.05


class Exchange(NamedTuple):
    """One reading of the device's clock, with the host's clock before and after it; all in seconds of monotonic clocks."""

    before_s: float
    device_s: float
    after_s: float


@dataclass(frozen=True)
class Alignment:
    """Host time minus device time: `offset_s` at the device's time `at_s`, its `drift` per second, and its largest error `error_s`."""

    at_s: float
    offset_s: float
    drift: float
    error_s: float

    def to_device(self, host_s: np.ndarray) -> np.ndarray:
        """Times of the host's monotonic clock, float64 [N] in seconds, on the device's."""
        return self.at_s + (np.asarray(host_s, dtype=np.float64) - self.offset_s - self.at_s) / (1 + self.drift)

    def to_host(self, device_s: np.ndarray) -> np.ndarray:
        """Times of the device's monotonic clock, float64 [N] in seconds, on the host's."""
        t = np.asarray(device_s, dtype=np.float64)
        return t + self.offset_s + self.drift * (t - self.at_s)


def ask(device: Device, boottime_lead_s: float = 0.0, times: int = 5) -> list[Exchange]:
    """Read the device's clock `times` times. Call this before and after the time span to be aligned.

    It reads /proc/uptime, which needs no Python to start. That clock also runs while a device sleeps: boottime_lead_s is its lead over the
    monotonic clock, see `boottime_lead_s`. Raises DeviceFailed if the device does not report its uptime.
    """
    exchanges = []
    for _ in range(times):
        before = time.monotonic()
        reply = device.sh("cat /proc/uptime")
        after = time.monotonic()
        try:
            uptime = float(reply.out.split()[0])
        except (IndexError, ValueError) as error:
            raise DeviceFailed(f"{device.spec} did not report its uptime: {reply.err.strip() or reply.out.strip()}") from error
        exchanges.append(Exchange(before, uptime + _UPTIME_STEP_S / 2 - boottime_lead_s, after))
    return exchanges


def align(exchanges: Sequence[Exchange]) -> Alignment:
    """Offset and drift of the device's clock, from the fastest exchange in each half of the time.

    The device answers at some moment between question and reply, so the error of an exchange is at most half its duration (Cristian,
    Probabilistic Clock Synchronization, Distributed Computing 3, 1989). If the drift is constant, the error between two exchanges is no
    larger. A span below 10 s is too short to estimate the drift: the error then holds at that time only, and grows by up to 500 ppm of the
    distance in time. Both clocks are monotonic, so setting a wall clock changes nothing. Raises ValueError without an exchange, and if the
    clocks diverged faster than clocks can, as after a restart of the device.
    """
    if not exchanges:
        raise ValueError("aligning two clocks takes at least one exchange, found none")
    middle = (exchanges[0].before_s + exchanges[-1].after_s) / 2
    first = _fastest([exchange for exchange in exchanges if exchange.before_s <= middle])
    last = _fastest([exchange for exchange in exchanges if exchange.before_s > middle] or [first])
    if last.before_s - first.before_s < _MIN_SPAN_S:
        best = _fastest(exchanges)
        offset, error = _offset(best)
        return Alignment(best.device_s, offset, 0.0, error)
    (offset, error), (later, later_error) = _offset(first), _offset(last)
    span = last.device_s - first.device_s
    if abs(later - offset) > error + later_error + _MAX_DRIFT * (last.before_s - first.before_s):
        raise ValueError(
            f"the device's clock went {span:.3f} s while the host's went {last.before_s - first.before_s:.3f} s: "
            "the device restarted or slept in between"
        )
    return Alignment(first.device_s, offset, (later - offset) / span, max(error, later_error))


def _fastest(exchanges: Sequence[Exchange]) -> Exchange:
    return min(exchanges, key=lambda exchange: exchange.after_s - exchange.before_s)


def _offset(exchange: Exchange) -> tuple[float, float]:
    """Host time minus device time, and its largest error, in seconds."""
    half = (exchange.after_s - exchange.before_s) / 2
    return exchange.before_s + half - exchange.device_s, half + _UPTIME_STEP_S / 2


def boottime_lead_s(records: Iterable[Record]) -> float:
    """Lead of the device's uptime over its monotonic clock, from the last `clock` record that has both; 0 without one.

    It is the time that the device has slept since its start.
    """
    leads = [
        (record["boottime_ns"] - record["monotonic_ns"]) / 1e9
        for record in records
        if record["type"] == "clock" and "boottime_ns" in record
    ]
    return leads[-1] if leads else 0.0


def clock_jumps(records: Iterable[Record]) -> list[ClockJump]:
    """Jumps of the device's wall clock during a run, from each `clock` record to the next.

    No figure depends on the wall clock, but the device's own logs do.
    """
    clocks = [record for record in records if record["type"] == "clock"]
    jumps = []
    for earlier, later in pairwise(clocks):
        passed = (later["monotonic_ns"] - earlier["monotonic_ns"]) / 1e9
        jump = (later["time_ns"] - earlier["time_ns"]) / 1e9 - passed
        if abs(jump) > _JUMP_S + _MAX_DRIFT * passed:
            jumps.append(ClockJump(after_s=earlier["monotonic_ns"] / 1e9, before_s=later["monotonic_ns"] / 1e9, jump_s=jump))
    return jumps
