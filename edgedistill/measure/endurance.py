"""Estimates how long the battery lasts under a load, and summarizes temperatures."""

from collections.abc import Mapping

import numpy as np

from edgedistill.measure.counters import counter_rate, resolution
from edgedistill.measure.power import powered
from edgedistill.measure.series import Series
from edgedistill.records import Unavailable
from edgedistill.records.stress import BatteryHours, Headroom, Hours, Temperature

_NEAR = 3
_UAH_AN_MAH = 1000.0
_NO_LEVEL = "the battery reports neither its level nor its full charge"
_NO_HEADROOM = "the device reports no thermal headroom, which needs Android's thermal service with a severe threshold for a skin sensor"


def battery_hours(series: Mapping[str, Series]) -> BatteryHours | Unavailable:
    """Hours that the battery lasts under the load of `series`, from full and from the present charge, with intervals.

    The current is the slope of the charge counter or, if the counter did not move, the mean of the measured current. The full charge is
    the present charge divided by the level, so it is as coarse as the whole percents of the level. Unavailable while the device is powered.
    """
    charge, level = series.get("battery.charge"), series.get("battery.level")
    if charge is None and level is None and "battery.current" not in series:
        return Unavailable(unavailable="the device has no battery that reports its charge, level or current")
    if why := powered([series]):
        return Unavailable(unavailable=why)
    if charge is None:
        return Unavailable(unavailable="the battery reports no charge, so its remaining hours are unknown")
    draw = _current_ma(series, charge)
    if isinstance(draw, str):
        return Unavailable(unavailable=draw)
    current, low, high, source = draw
    now = float(charge.values[-1]) / _UAH_AN_MAH
    share = float(level.values[-1]) / 100 if level is not None else 0.0
    full = _hours(now / share, current, low, high) if share > 0 else Unavailable(unavailable=_NO_LEVEL)
    return BatteryHours(current_ma=current, interval_ma=(low, high), source=source, now=_hours(now, current, low, high), full=full)


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


def _hours(charge_mah: float, current: float, low: float, high: float) -> Hours:
    return Hours(value=charge_mah / current, interval=(charge_mah / high, charge_mah / low if low > 0 else None))


def temperatures(series: Mapping[str, Series], t0_s: float) -> dict[str, Temperature] | Unavailable:
    """Start, end and peak of each temperature sensor in °C, and the time of the peak; unavailable without such a sensor."""
    zones = {name: sensor for name, sensor in series.items() if name.startswith("temperature.") or name == "battery.temperature"}
    if not zones:
        return Unavailable(unavailable="no sensor of this device reports a temperature")
    return {
        name: Temperature(
            start_c=float(np.median(sensor.values[:_NEAR])),
            end_c=float(np.median(sensor.values[-_NEAR:])),
            peak_c=float(sensor.values.max()),
            peak_at_s=float(sensor.t_s[int(np.argmax(sensor.values))] - t0_s),
        )
        for name, sensor in zones.items()
    }


def headroom(series: Mapping[str, Series]) -> Headroom | Unavailable:
    """Thermal headroom left at the worst moment and at the end: 1 minus Android's figure, so severe throttling begins at 0."""
    sensor = series.get("thermal.headroom")
    if sensor is None:
        return Unavailable(unavailable=_NO_HEADROOM)
    least, last = float(1 - sensor.values.max()), float(1 - np.median(sensor.values[-_NEAR:]))
    return Headroom(min_left=least, end_left=last, source=sensor.source)
