"""The limits at which a load stops by itself: temperature and battery level."""

from collections.abc import Mapping
from typing import Any


def watched(values: Mapping[str, float]) -> dict[str, tuple[str, float]]:
    """The latest `values` that the limits apply to: {limit: (sensor, value)}, without limits that no sensor reports."""
    readings = {}
    temperatures = {name: value for name, value in values.items() if name.startswith("temperature.") or name == "battery.temperature"}
    if temperatures:
        hottest = max(temperatures, key=lambda name: temperatures[name])
        readings["limit_c"] = (hottest, temperatures[hottest])
    if "battery.level" in values:
        readings["min_battery"] = ("battery.level", values["battery.level"])
    return readings


def crossed(settings: dict[str, Any], values: dict[str, tuple[str, float]]) -> dict[str, Any] | None:
    """The limit of `settings` that the `watched` values exceed: {reason, sensor, value, limit}, or None."""
    for name, reason, sign in (("limit_c", "temperature", 1), ("min_battery", "battery level", -1)):
        limit = settings.get(name)
        if limit is not None and name in values:
            sensor, value = values[name]
            if sign * value > sign * limit:
                return {"reason": reason, "sensor": sensor, "value": value, "limit": limit}
    return None
