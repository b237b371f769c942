"""The limits at which a load stops by itself: too hot, or too little charge left."""

from collections.abc import Mapping
from typing import Any


def watched(values: Mapping[str, float]) -> dict[str, tuple[str, float]]:
    """Of the newest sensor `values`, those that the limits are about: {limit: (sensor, value)}, without those that no sensor tells."""
    found = {}
    heats = {name: value for name, value in values.items() if name.startswith("temperature.") or name == "battery.temperature"}
    if heats:
        hottest = max(heats, key=lambda name: heats[name])
        found["limit_c"] = (hottest, heats[hottest])
    if "battery.level" in values:
        found["min_battery"] = ("battery.level", values["battery.level"])
    return found


def crossed(settings: dict[str, Any], values: dict[str, tuple[str, float]]) -> dict[str, Any] | None:
    """Which limit of `settings` the `watched` values crossed: {reason, sensor, value, limit}, or None."""
    for name, reason, sign in (("limit_c", "temperature", 1), ("min_battery", "battery level", -1)):
        limit = settings.get(name)
        if limit is not None and name in values:
            sensor, value = values[name]
            if sign * value > sign * limit:
                return {"reason": reason, "sensor": sensor, "value": value, "limit": limit}
    return None
