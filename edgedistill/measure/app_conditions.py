"""The conditions of a measurement on a phone that only this machine watches: the battery, and a cool-down by its temperature."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from edgedistill.measure.ios.base import BatteryReading, Iphone
from edgedistill.measure.ios.facts import NOT_TOLD, battery
from edgedistill.measure.runner.conditions import cool_down, hottest
from edgedistill.measure.runner.job_types import ConditionSettings
from edgedistill.measure.runner.records import Recorder

EVERY_S = 10.0
"""Seconds from one reading of the battery to the next while the phone cools down: each starts a process."""
_UNITS = {
    "battery.level": "%", "battery.temperature": "°C", "battery.voltage": "mV", "battery.current": "mA", "battery.charging": "1",
    "battery.usb": "1",
}  # fmt: skip
_UNAVAILABLE = {"temperature.skin": "°C", "frequency.cpu": "MHz", "load.others": "1"}
_RELAY = "IOPMPowerSource, by the service diagnostics_relay"
_CABLE = "a cable connects the phone, says devicectl"


class Battery:
    """The battery of a phone, read now and then. wired: whether a cable is known to connect the phone."""

    def __init__(self, phone: Iphone, wired: bool | None) -> None:
        self._phone, self._wired = phone, wired
        self._read_s = float("-inf")
        self._last: dict[str, float] = {}
        self.source, self.reason = "", ""

    def values(self) -> Mapping[str, float]:
        """The latest values of `battery.*` by name, at most 10 s old. `source` then says whose they are, `reason` why some are missing."""
        if time.monotonic() - self._read_s >= EVERY_S:
            self._last = self._read()
            self._read_s = time.monotonic()
        return self._last

    def sweep(self, recorder: Recorder) -> None:
        """Read the battery now, and record it."""
        self._read_s = float("-inf")
        began = time.monotonic_ns()
        if values := self.values():
            recorder.write("sensor", t_ns=(began + time.monotonic_ns()) // 2, values=dict(values))

    def _read(self) -> dict[str, float]:
        reading = battery(self._phone)
        if isinstance(reading, BatteryReading):
            self.source, self.reason = _RELAY, "the phone does not tell it"
            return _named(reading)
        self.source, self.reason = _CABLE, reading
        return {"battery.usb": float(self._wired)} if self._wired is not None else {}


def _named(reading: BatteryReading) -> dict[str, float]:
    values = {
        "battery.level": reading.level, "battery.temperature": reading.temperature, "battery.voltage": reading.voltage,
        "battery.current": reading.current, "battery.charging": float(reading.charging), "battery.usb": float(reading.powered),
    }  # fmt: skip
    return {name: value for name, value in values.items() if value is not None}


@contextmanager
def established(settings: ConditionSettings, charge: Battery, recorder: Recorder) -> Iterator[None]:
    """Record the state of the phone, let it cool down, and record begin and end of the block, on the clock of this machine.

    There is no idle phase: no sensor of the phone tells its power.
    """
    charge.sweep(recorder)
    there = charge.values()
    missing = {name: charge.reason for name in _UNITS if name not in there} | dict.fromkeys(_UNAVAILABLE, NOT_TOLD)
    units = _UNITS | _UNAVAILABLE
    recorder.write(
        "sensors", interval_s=EVERY_S, available=[{"name": name, "unit": units[name], "source": charge.source} for name in there],
        unavailable=[{"name": name, "unit": units[name], "reason": reason} for name, reason in missing.items()],
    )  # fmt: skip
    recorder.write("preflight", placement={"asked": None, "cores": None, "clusters": []}, governors={}, screen=None, doze=None)
    cooldown = settings["cooldown"]
    if cooldown is not None and hottest(there) is None:
        recorder.write("cooldown", sensor=None, reached=None, waited_s=0.0, reason=charge.reason or NOT_TOLD)
    elif cooldown is not None:
        _phase("cooldown", recorder)
        cool_down(cooldown, charge.values, recorder)
    _phase("work", recorder)
    try:
        yield
    finally:
        _phase("end", recorder)


def _phase(name: str, recorder: Recorder) -> None:
    recorder.write("phase", name=name, t_ns=time.monotonic_ns())
