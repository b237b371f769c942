"""The limits at which a load stops by itself: temperature and battery level."""

from collections.abc import Mapping

from edgedistill.measure.runner.job_types import StressSettings
from edgedistill.measure.runner.record_types import Exceeded


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


def crossed(settings: StressSettings, values: Mapping[str, tuple[str, float]]) -> Exceeded | None:
    """The limit of `settings` that the `watched` values exceed, or None."""
    if "limit_c" in values and (limit := settings["limit_c"]) is not None:
        sensor, value = values["limit_c"]
        if value > limit:
            return {"reason": "temperature", "sensor": sensor, "value": value, "limit": limit}
    if "min_battery" in values and (limit := settings["min_battery"]) is not None:
        sensor, value = values["min_battery"]
        if value < limit:
            return {"reason": "battery level", "sensor": sensor, "value": value, "limit": limit}
    return None
