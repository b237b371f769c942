"""Battery and external power from /sys/class/power_supply. Units: kernel, Documentation/ABI/testing/sysfs-class-power."""

from pathlib import Path

from edgedistill.measure.runner.sensors.base import NotNow, Reader, Scope, Source, collect, number, sift, text

# energy_now is in µWh.
_SECONDS_AN_HOUR = 3600


def find_battery(scope: Scope) -> tuple[Source | None, dict[str, str]]:
    """The values of sysfs on the battery and external power, and the reasons for missing values, by name."""
    supplies = sorted((scope.root / "sys/class/power_supply").glob("*"))
    kinds = {supply: _kind(supply) for supply in supplies}
    readers: dict[str, Reader] = {}
    outside = [supply for supply, kind in kinds.items() if kind and kind != "Battery" and (supply / "online").exists()]
    if outside:
        readers["battery.usb"] = lambda: float(any(number(supply / "online") > 0 for supply in outside))
    # A wireless mouse has a battery too, whose scope is Device.
    batteries = [supply for supply, kind in kinds.items() if kind == "Battery" and _text(supply / "scope") != "Device"]
    battery = min(batteries, key=lambda supply: supply.name != "battery", default=None)
    if battery is not None:
        readers |= _battery(battery)
    working, missing = sift(readers, UNITS)
    reasons = {name: reason for name, _, reason in missing}
    if not working:
        return None, reasons
    named = [supply.name for supply in ([battery] if battery else []) + outside]
    source = f"/sys/class/power_supply/{{{','.join(named)}}}"
    if len(batteries) > 1:
        source += f"; {len(batteries) - 1} more batteries are not read"
    return Source({name: UNITS[name] for name in working}, source, lambda: collect(working)), reasons


UNITS = {
    "battery.level": "%",
    "battery.charge": "µAh",
    "battery.energy": "µJ",
    "battery.current.raw": "unknown",
    "battery.voltage": "mV",
    "battery.temperature": "°C",
    "battery.charging": "1",
    "battery.usb": "1",
}


def _battery(supply: Path) -> dict[str, Reader]:
    readers: dict[str, Reader] = {
        "battery.level": lambda: number(supply / "capacity"),
        "battery.current.raw": lambda: signed(number(supply / "current_now"), text(supply / "status")),
        "battery.voltage": lambda: number(supply / "voltage_now") / 1000,
        "battery.temperature": lambda: number(supply / "temp") / 10,
        "battery.charging": lambda: float(text(supply / "status") == "Charging"),
    }
    # Android's drivers call it charge_counter; a battery whose firmware counts energy has energy_now instead.
    charge = supply / ("charge_now" if (supply / "charge_now").exists() else "charge_counter")
    if charge.exists():
        readers["battery.charge"] = lambda: _positive(number(charge))
    if (supply / "energy_now").exists():
        readers["battery.energy"] = lambda: _positive(number(supply / "energy_now")) * _SECONDS_AN_HOUR
    return readers


def signed(current: float, status: str) -> float:
    """`current` with the sign of the status: positive while the battery discharges.

    Drivers have three conventions for the sign (kernel commit 05f94eb98907), so it is ignored. Raises NotNow in a state that does not
    show the direction.
    """
    if status == "Discharging":
        return abs(current)
    if status == "Charging":
        return -abs(current)
    raise NotNow(f"the battery is in state {status!r}, which does not show the direction of its current")


def _positive(value: float) -> float:
    if value <= 0:
        raise ValueError(f"the charge counter reads {value:g}")
    return value


def _kind(supply: Path) -> str:
    return _text(supply / "type")


def _text(path: Path) -> str:
    try:
        return text(path)
    except OSError:
        return ""
