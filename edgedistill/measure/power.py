"""Computes the mean power over a window. Each kind of sensor has a function of the window's series."""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from edgedistill.measure.counters import Rate, counter_rate, resolution
from edgedistill.measure.series import Series

AllSeries = Mapping[str, Series]

FLAGS = {"battery.usb": "USB or another supply powers the device", "battery.charging": "the battery is charged"}
_SECONDS_AN_HOUR = 3600
_BATCHES = 8
# The 0.975 quantile of Student's t with 7 degrees of freedom: a 95% interval from the means of 8 batches.
_STUDENT_T = 2.364624251592784


class Power(NamedTuple):
    """Mean power in W with the bounds of its 95% interval, and how it was measured."""

    watts: float
    low: float
    high: float
    source: str


# Takes all windows and the index of the one to measure: all of them together show a counter's steps best.
Finder = Callable[[list[AllSeries], int], Power | str | None]


def mean_power(series: Series) -> Power | str:
    """Mean of power samples, with the interval of the means of 8 batches (Law, Simulation Modeling and Analysis, 5th ed., 9.5.3).

    Successive samples are correlated; the means of long batches hardly are.
    """
    if len(series.values) < 2 * _BATCHES:
        return f"{series.name} gave {len(series.values)} samples, but at least {2 * _BATCHES} are needed"
    means = np.array([batch.mean() for batch in np.array_split(series.values, _BATCHES)])
    half = float(_STUDENT_T * means.std(ddof=1) / np.sqrt(_BATCHES))
    mean = float(series.values.mean())
    return Power(mean, mean - half, mean + half, f"{series.name}: {series.source}")


def sampled(name: str) -> Finder:
    """The finder for one power sensor by its name."""

    def find(windows: list[AllSeries], which: int) -> Power | str | None:
        return mean_power(windows[which][name]) if name in windows[which] else f"there is no sensor {name}"

    return find


def meter(windows: list[AllSeries], which: int) -> Power | str | None:
    """A meter on the host."""
    return _only(windows[which], lambda sensor: sensor.name.startswith("power.meter."))


def shunt_monitor(windows: list[AllSeries], which: int) -> Power | str | None:
    """A power monitor of Texas Instruments on the board, read over I2C or by its driver."""
    return _only(windows[which], lambda sensor: sensor.unit == "W" and re.search(r"^ina\d+ at |\(ina\d+", sensor.source) is not None)


def regulators(windows: list[AllSeries], which: int) -> Power | str | None:
    """The regulators of a Raspberry Pi 5."""
    return _only(windows[which], lambda sensor: sensor.name == "power.pmic")


def processor_counter(windows: list[AllSeries], which: int) -> Power | str | None:
    """The energy counters of the processor packages, in µJ."""
    names = [name for name in windows[which] if re.fullmatch(r"energy\.rapl\.package-\d+", name)]
    rates = [_rate(windows, which, name) for name in names]
    if not rates or (problem := next((rate for rate in rates if isinstance(rate, str)), None)):
        return f"energy.rapl: {problem}" if rates else None
    known = [rate for rate in rates if isinstance(rate, Rate)]
    value, low, high = np.array([[rate.value, rate.low, rate.high] for rate in known]).sum(axis=0) / 1e6
    return Power(float(value), float(low), float(high), f"{', '.join(names)}: {windows[which][names[0]].source}")


def battery_counter(windows: list[AllSeries], which: int) -> Power | str | None:
    """The loss of the battery's counter: energy, or charge times the mean voltage."""
    series = windows[which]
    name = "battery.energy" if "battery.energy" in series else "battery.charge"
    if name not in series:
        return None
    if reason := powered(windows):
        return reason
    rate = _rate(windows, which, name)
    if isinstance(rate, str):
        return f"{name}: {rate}"
    source = f"slope of {name}: {series[name].source}"
    if name == "battery.energy":
        factor = 1e-6
    elif "battery.voltage" in series:
        factor = _SECONDS_AN_HOUR * 1e-6 * float(series["battery.voltage"].values.mean()) / 1000
        source += "; times the mean of battery.voltage"
    else:
        return "battery.charge: there is no battery.voltage to multiply it by"
    if rate.value > 0:
        return f"{name}: it rose, so something charges the battery"
    return Power(-rate.value * factor, -rate.high * factor, -rate.low * factor, source)


def battery_current(windows: list[AllSeries], which: int) -> Power | str | None:
    """The battery's current times its voltage."""
    series = windows[which]
    if "battery.current" not in series:
        return "battery.current: its unit is unknown" if "battery.current.raw" in series else None
    if reason := powered(windows):
        return reason
    if "battery.voltage" not in series:
        return "battery.current: there is no battery.voltage to multiply it by"
    current, voltage = series["battery.current"], series["battery.voltage"]
    watts = current.values * np.interp(current.t_s, voltage.t_s, voltage.values) / 1e6
    source = f"{current.source}; times battery.voltage"
    return mean_power(Series("battery.current", "W", source, current.t_s, watts))


# Sensors of the whole device come before sensors of a part, and accurate ones before rough ones.
FINDERS: tuple[Finder, ...] = (meter, shunt_monitor, regulators, processor_counter, battery_counter, battery_current)


def powered(windows: list[AllSeries]) -> str | None:
    """Why the battery does not show the load: the device was powered externally in some sweep, or that is unknown; else None."""
    for name, what in FLAGS.items():
        for series in windows:
            if name in series and series[name].values.any():
                return f"{what} ({name} in {int(np.count_nonzero(series[name].values))} of {len(series[name].values)} sweeps)"
    if not any(name in series for series in windows for name in FLAGS):
        return "it is not known whether something charges the battery"
    return None


def _rate(windows: list[AllSeries], which: int, name: str) -> Rate | str:
    series = windows[which][name]
    return counter_rate(series.t_s, series.values, resolution(*(window[name].values for window in windows if name in window)))


def _only(series: AllSeries, fits: Callable[[Series], bool]) -> Power | str | None:
    sensors = [sensor for sensor in series.values() if fits(sensor)]
    if len(sensors) > 1:
        return f"there are several power sensors, {', '.join(sensor.name for sensor in sensors)}: choose one by its name"
    return mean_power(sensors[0]) if sensors else None
