"""Battery and external power, from sysfs and, if that is not readable, from Android's battery service."""

from collections.abc import Iterator

from edgedistill.measure.runner.sensors.base import Missing, Scope, Source, why
from edgedistill.measure.runner.sensors.battery_service import names, values
from edgedistill.measure.runner.sensors.power_supply import UNITS, find_battery

_COMMAND = ["dumpsys", "battery"]
# A call to the system server. The service itself gets new values only every few seconds.
_INTERVAL_S = 2.0
# A battery has either of these; no device has both.
_EITHER = {"battery.charge": "battery.energy", "battery.energy": "battery.charge"}


def find(scope: Scope) -> Iterator[Source | Missing]:
    """Values battery.<...> in the units of `power_supply.UNITS`: level, charge or energy, current.raw, voltage, temperature, charging, usb.

    charging and usb are 0 or 1; usb is 1 while the device has external power: USB, mains, wireless or a dock. current.raw is positive while
    the battery discharges, in µA or mA: drivers differ, and the host decides the unit from the series.
    """
    sysfs, reasons = find_battery(scope)
    known = set(sysfs.channels) if sysfs else set()
    if sysfs:
        yield sysfs
    try:
        more = {name: UNITS[name] for name in names(scope.tool(_COMMAND)) if name not in known}
        no_service = "dumpsys battery does not report it"
    except (OSError, ValueError) as error:
        more, no_service = {}, why(error)
    if more:
        yield Source(more, "dumpsys battery", lambda: _only(more, values(scope.tool(_COMMAND))), _INTERVAL_S)
    known |= set(more)
    if not known & (set(UNITS) - {"battery.usb"}):
        why_not = reasons.get("battery.level", "/sys/class/power_supply has no battery that this user may see")
        yield Missing("battery", "1", f"{why_not}; {no_service}")
        return
    for name, unit in UNITS.items():
        if name not in known and _EITHER.get(name) not in known:
            yield Missing(name, unit, f"{reasons.get(name, '/sys/class/power_supply does not report it')}; {no_service}")


def _only(names: dict[str, str], values_now: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in values_now.items() if name in names}
