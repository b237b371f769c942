"""Battery and external power from Android's battery service, through `dumpsys battery`."""

import re
from contextlib import suppress

from edgedistill.measure.runner.sensors.base import NotNow
from edgedistill.measure.runner.sensors.power_supply import signed

_TITLE = "Current Battery Service state:"
# BatteryManager.BATTERY_STATUS_* of AOSP.
_STATUS = {1: "Unknown", 2: "Charging", 3: "Discharging", 4: "Not charging", 5: "Full"}
_CURRENT = ("current now", "current_now")


def values(dump: str) -> dict[str, float]:
    """The values of a dump by name, in the units of `power_supply.UNITS`. Raises ValueError when it is no dump, or a frozen one."""
    if _TITLE not in dump:
        raise ValueError(f"dumpsys battery reported no state but {dump.strip()[:100]!r}")
    if "UPDATES STOPPED" in dump:
        raise ValueError("the battery service has stopped its updates; `dumpsys battery reset` starts them again")
    fields = {key.strip().lower(): value.strip() for key, value in re.findall(r"^\s*([\w ]+):[ \t]*(.*)$", dump, re.MULTILINE)}
    found: dict[str, float] = {}
    powered = [value for key, value in fields.items() if key.endswith(" powered")]
    if powered:
        found["battery.usb"] = float("true" in powered)
    status = _STATUS.get(int(fields["status"]), "Unknown") if fields.get("status", "").isdigit() else "Unknown"
    if status != "Unknown":
        found["battery.charging"] = float(status == "Charging")
    level, scale = _number(fields, "level"), _number(fields, "scale") or 100.0
    if level is not None:
        found["battery.level"] = level / scale * 100
    if charge := _number(fields, "charge counter"):
        found["battery.charge"] = charge
    if (voltage := _millivolts(_number(fields, "voltage"))) is not None:
        found["battery.voltage"] = voltage
    if (temperature := _number(fields, "temperature")) is not None:
        found["battery.temperature"] = temperature / 10
    current = next((value for key in _CURRENT if (value := _number(fields, key)) is not None), None)
    if current is not None:
        with suppress(NotNow):
            found["battery.current.raw"] = signed(current, status)
    return found


def names(dump: str) -> list[str]:
    """The names that this service tells, now or in another state of the battery. Raises ValueError as `values` does."""
    found = list(values(dump))
    tells_current = any(re.search(rf"^\s*{key}:\s*-?\d", dump, re.MULTILINE) for key in _CURRENT)
    return found if "battery.current.raw" in found or not tells_current else [*found, "battery.current.raw"]


def _number(fields: dict[str, str], key: str) -> float | None:
    try:
        return float(fields[key])
    except (KeyError, ValueError):
        return None


def _millivolts(raw: float | None) -> float | None:
    """The service's unit is mV, but it passes on what the driver gave: µV is told by its size, and a whole number of volts is no use."""
    if raw is None or raw < 1000:
        return None
    return raw / 1000 if raw >= 100_000 else raw
