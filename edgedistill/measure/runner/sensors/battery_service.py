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
    """The values of a dump by name, in the units of `power_supply.UNITS`. Raises ValueError if it is not a dump, or a frozen one."""
    if _TITLE not in dump:
        raise ValueError(f"dumpsys battery reported no state but {dump.strip()[:100]!r}")
    if "UPDATES STOPPED" in dump:
        raise ValueError("the battery service has stopped its updates; `dumpsys battery reset` starts them again")
    fields = {key.strip().lower(): value.strip() for key, value in re.findall(r"^\s*([\w ]+):[ \t]*(.*)$", dump, re.MULTILINE)}
    result: dict[str, float] = {}
    powered = [value for key, value in fields.items() if key.endswith(" powered")]
    if powered:
        result["battery.usb"] = float("true" in powered)
    status = _STATUS.get(int(fields["status"]), "Unknown") if fields.get("status", "").isdigit() else "Unknown"
    if status != "Unknown":
        result["battery.charging"] = float(status == "Charging")
    level, scale = _number(fields, "level"), _number(fields, "scale") or 100.0
    if level is not None:
        result["battery.level"] = level / scale * 100
    if charge := _number(fields, "charge counter"):
        result["battery.charge"] = charge
    if (voltage := _millivolts(_number(fields, "voltage"))) is not None:
        result["battery.voltage"] = voltage
    if (temperature := _number(fields, "temperature")) is not None:
        result["battery.temperature"] = temperature / 10
    current = next((value for key in _CURRENT if (value := _number(fields, key)) is not None), None)
    if current is not None:
        with suppress(NotNow):
            result["battery.current.raw"] = signed(current, status)
    return result


def names(dump: str) -> list[str]:
    """The names of values that this service reports, now or in another state of the battery. Raises ValueError as `values` does."""
    result = list(values(dump))
    has_current = any(re.search(rf"^\s*{key}:\s*-?\d", dump, re.MULTILINE) for key in _CURRENT)
    return result if "battery.current.raw" in result or not has_current else [*result, "battery.current.raw"]


def _number(fields: dict[str, str], key: str) -> float | None:
    try:
        return float(fields[key])
    except (KeyError, ValueError):
        return None


def _millivolts(raw: float | None) -> float | None:
    """mV. The service passes on the driver's unit: large values are µV, and whole volts are too coarse and count as missing."""
    if raw is None or raw < 1000:
        return None
    return raw / 1000 if raw >= 100_000 else raw
