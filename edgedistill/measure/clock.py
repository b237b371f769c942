"""The device's clock on the host's time line, for meters whose samples the host stamps."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from edgedistill.errors import DeviceFailed
from edgedistill.measure.devices.base import Device

# Quartz clocks are within some tens of ppm, and NTP slews a monotonic clock by up to 500 ppm.
_MAX_DRIFT = 500e-6
# /proc/uptime counts hundredths of a second, cut off.
_UPTIME_STEP_S = 0.01
_MIN_SPAN_S = 10.0
_JUMP_S = 0.05


class Exchange(NamedTuple):
    """One question to the device's clock, in seconds of monotonic clocks: the host's before and after, and what the device said between."""

    before_s: float
    device_s: float
    after_s: float


@dataclass(frozen=True)
class Alignment:
    """Host time minus device time: offset_s at the device's time `at_s`, and how fast it grows; off by at most error_s."""

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
    """Ask the device for its clock `times` times; do so before and after what is to be aligned.

    /proc/uptime is read, since it takes no Python to start; it also counts while a device sleeps. boottime_lead_s: by how much it is
    ahead of the monotonic clock, see `boottime_lead_s`. Raises DeviceFailed when the device does not tell.
    """
    found = []
    for _ in range(times):
        before = time.monotonic()
        reply = device.sh("cat /proc/uptime")
        after = time.monotonic()
        try:
            uptime = float(reply.out.split()[0])
        except (IndexError, ValueError) as error:
            raise DeviceFailed(f"{device.spec} did not tell its uptime: {reply.err.strip() or reply.out.strip()}") from error
        found.append(Exchange(before, uptime + _UPTIME_STEP_S / 2 - boottime_lead_s, after))
    return found


def align(exchanges: Sequence[Exchange]) -> Alignment:
    """Offset and drift of the device's clock by the fastest exchange of the first and of the last half of the time.

    The device answers somewhere between question and reply, so an exchange is off by at most half its time (Cristian, Probabilistic Clock
    Synchronization, Distributed Computing 3, 1989), and a clock that drifts evenly is off by no more between two of them. Exchanges
    within 10 s tell no drift; the error is then that at their time, and grows by up to 500 ppm of the time from there. Both clocks are
    monotonic: setting the wall clock of either machine changes nothing. Raises ValueError without an exchange, and when the clocks went
    apart faster than clocks do, as after a restart of the device.
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
            "the device was started anew, or slept, between the two"
        )
    return Alignment(first.device_s, offset, (later - offset) / span, max(error, later_error))


def _fastest(exchanges: Sequence[Exchange]) -> Exchange:
    return min(exchanges, key=lambda exchange: exchange.after_s - exchange.before_s)


def _offset(exchange: Exchange) -> tuple[float, float]:
    """Host time minus device time, and its largest error, in seconds."""
    half = (exchange.after_s - exchange.before_s) / 2
    return exchange.before_s + half - exchange.device_s, half + _UPTIME_STEP_S / 2


def boottime_lead_s(records: Iterable[Mapping[str, Any]]) -> float:
    """How far the device's uptime is ahead of its monotonic clock, by the last `clock` record that tells both; 0 where none does.

    They differ by the time that the device has slept since its start.
    """
    leads = [
        (record["boottime_ns"] - record["monotonic_ns"]) / 1e9
        for record in records
        if record["type"] == "clock" and "boottime_ns" in record
    ]
    return leads[-1] if leads else 0.0


def clock_jumps(records: Iterable[Mapping[str, Any]]) -> list[dict[str, float]]:
    """Where the device's wall clock was set during a run: {"after_s", "before_s", "jump_s"} from each `clock` record to the next.

    after_s and before_s: monotonic times that it happened between. No figure depends on the wall clock; who looks for the run in the
    device's logs wants to know.
    """
    clocks = [record for record in records if record["type"] == "clock"]
    jumps = []
    for one, other in pairwise(clocks):
        passed = (other["monotonic_ns"] - one["monotonic_ns"]) / 1e9
        jump = (other["time_ns"] - one["time_ns"]) / 1e9 - passed
        if abs(jump) > _JUMP_S + _MAX_DRIFT * passed:
            jumps.append({"after_s": one["monotonic_ns"] / 1e9, "before_s": other["monotonic_ns"] / 1e9, "jump_s": jump})
    return jumps
