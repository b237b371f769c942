"""How long the battery lasts under a load, and how warm the device became."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgedistill.measure.counters import counter_rate, resolution
from edgedistill.measure.power import powered
from edgedistill.measure.series import Series
from edgedistill.measure.statistics import unavailable

_NEAR = 3
_UAH_AN_MAH = 1000.0


def battery_hours(series: Mapping[str, Series]) -> dict[str, Any]:
    """Hours that the battery lasts at the load of `series`: from full, and from the charge it has now, with intervals.

    The charge counter's slope tells the current; without one that moved, the mean of the measured current. The full charge is
    the charge now divided by the level, so it is as coarse as the level's whole percents. Unavailable while anything powers the device.
    """
    charge, level = series.get("battery.charge"), series.get("battery.level")
    if charge is None and level is None and "battery.current" not in series:
        return unavailable("the device has no battery that tells its charge, level or current")
    if why := powered([series]):
        return unavailable(why)
    if charge is None:
        return unavailable("the battery tells no charge, so its hours are not known")
    found = _current_ma(series, charge)
    if isinstance(found, str):
        return unavailable(found)
    current, low, high, source = found
    now = float(charge.values[-1]) / _UAH_AN_MAH
    share = float(level.values[-1]) / 100 if level is not None else 0.0
    told = {"current_ma": current, "interval_ma": [low, high], "source": source, "now": _hours(now, current, low, high)}
    full = _hours(now / share, current, low, high) if share > 0 else unavailable("the battery tells no level, nor its full charge")
    return told | {"full": full}


def _current_ma(series: Mapping[str, Series], charge: Series) -> tuple[float, float, float, str] | str:
    rate = counter_rate(charge.t_s, charge.values, resolution(charge.values))
    if not isinstance(rate, str):
        if rate.value >= 0:
            return "the battery's charge rose under the load"
        scale = 3600 / _UAH_AN_MAH
        return -rate.value * scale, -rate.high * scale, -rate.low * scale, f"slope of battery.charge: {charge.source}"
    if "battery.current" not in series:
        return rate
    current = series["battery.current"]
    batches = np.array([part.mean() for part in np.array_split(current.values, min(8, len(current.values)))])
    mean, half = float(current.values.mean()), float(2 * batches.std(ddof=1) / np.sqrt(len(batches))) if len(batches) > 1 else 0.0
    return (mean, mean - half, mean + half, f"mean of battery.current: {current.source}") if mean > 0 else "the battery gave no current"


def _hours(charge_mah: float, current: float, low: float, high: float) -> dict[str, Any]:
    return {"value": charge_mah / current, "interval": [charge_mah / high, charge_mah / low if low > 0 else None]}


def temperatures(series: Mapping[str, Series], t0_s: float) -> dict[str, Any]:
    """Start, end and peak of each sensor of temperature in °C, and when the peak was; unavailable without one."""
    zones = {name: one for name, one in series.items() if name.startswith("temperature.") or name == "battery.temperature"}
    if not zones:
        return unavailable("no sensor of this device tells a temperature")
    return {
        name: {
            "start_c": float(np.median(one.values[:_NEAR])),
            "end_c": float(np.median(one.values[-_NEAR:])),
            "peak_c": float(one.values.max()),
            "peak_at_s": float(one.t_s[int(np.argmax(one.values))] - t0_s),
        }
        for name, one in zones.items()
    }


def headroom(series: Mapping[str, Series]) -> dict[str, Any]:
    """Thermal headroom left, at the worst moment and at the end: 1 less Android's figure, so 0 is where severe throttling begins."""
    one = series.get("thermal.headroom")
    if one is None:
        return unavailable("the device tells no thermal headroom: that takes Android's thermal service with a severe threshold of the skin")
    return {"min_left": float(1 - one.values.max()), "end_left": float(1 - np.median(one.values[-_NEAR:])), "source": one.source}
