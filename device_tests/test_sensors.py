"""What each device tells of itself while it works: values that can be true, or a reason."""

import pytest

from device_tests.lab import Lab
from edgedistill.measure.harness import Subject
from edgedistill.measure.series import Series
from edgedistill.records import Unavailable
from edgedistill.records.measurements import Energy

# What a lithium cell, or two in series, can have.
_VOLTS_MV = (2500, 9000)


def _series(lab: Lab, subject: Subject, prefix: str) -> dict[str, Series]:
    """The series whose names begin with `prefix`; the test is skipped with the reasons when there is none."""
    measured, series = lab.benched(subject)
    if found := {name: one for name, one in series.items() if name.startswith(prefix)}:
        return found
    missing = {name: why for name, why in (measured.sensors or {}).items() if name.startswith(prefix) and isinstance(why, Unavailable)}
    reasons = [f"{name}: {why.unavailable}" for name, why in missing.items()]
    pytest.skip("; ".join(reasons) or f"no sensor {prefix} on this device")


@pytest.mark.battery
def test_battery_makes_sense(lab: Lab, subject: Subject) -> None:
    level = _series(lab, subject, "battery.level")["battery.level"]
    assert level.values.min() >= 0
    assert level.values.max() <= 100
    measured, series = lab.benched(subject)
    if "battery.voltage" in series:
        assert _VOLTS_MV[0] <= series["battery.voltage"].values.min() <= series["battery.voltage"].values.max() <= _VOLTS_MV[1]
    powered = [name for name in ("battery.charging", "battery.usb") if name in series and series[name].values.max() > 0]
    if powered and isinstance(measured.energy, Energy):
        assert not measured.energy.source.startswith("battery"), f"{powered}, and yet the energy is the battery's"


@pytest.mark.thermal
def test_temperatures_make_sense(lab: Lab, subject: Subject) -> None:
    for name, one in _series(lab, subject, "temperature.").items():
        assert -30 < one.values.min() <= one.values.max() < 125, f"{name} from {one.source}: {one.values}"


@pytest.mark.thermal
def test_nothing_is_throttled(lab: Lab, subject: Subject) -> None:
    measured, _ = lab.benched(subject)
    if lab.emulated:
        pytest.skip(f"not judged: {lab.emulated}")
    assert [reason for reason in measured.reasons if reason.startswith("throttled")] == []
