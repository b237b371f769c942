"""Converts sensor records to series over time."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from edgedistill.measure.battery import battery_current
from edgedistill.measure.runner.record_types import Record
from edgedistill.records import Unavailable
from edgedistill.records.measurements import SensorFigures


@dataclass(frozen=True)
class Series:
    """The values of one sensor at times t_s, float64 [N] each; t_s is the device's monotonic clock in seconds, ascending."""

    name: str
    unit: str
    source: str
    t_s: np.ndarray
    values: np.ndarray

    def between(self, start_s: float, end_s: float) -> "Series":
        """The values from `start_s` to `end_s`, both included."""
        inside = (self.t_s >= start_s) & (self.t_s <= end_s)
        return replace(self, t_s=self.t_s[inside], values=self.values[inside])


def series_of(records: Iterable[Record]) -> dict[str, Series]:
    """The series in the `sensors` and `sensor` records of a run, by name, without sensors that gave no value.

    battery.current in mA is derived from battery.current.raw if its unit is known, see `battery_current`.
    """
    return _split(records)[0]


def between(series: Mapping[str, Series], start_s: float, end_s: float) -> dict[str, Series]:
    """Each series from `start_s` to `end_s`, without those that have no value there."""
    cut = {name: sensor.between(start_s, end_s) for name, sensor in series.items()}
    return {name: sensor for name, sensor in cut.items() if len(sensor.values)}


def sensor_figures(records: Iterable[Record]) -> dict[str, SensorFigures | Unavailable]:
    """The figures of each sensor by its name, or why it is unavailable."""
    series, reasons = _split(records)
    return {name: _figures(sensor) for name, sensor in series.items()} | {
        name: Unavailable(unavailable=reason) for name, reason in reasons.items()
    }


def _figures(sensor: Series) -> SensorFigures | Unavailable:
    first, last, low, high = map(float, (sensor.values[0], sensor.values[-1], sensor.values.min(), sensor.values.max()))
    return SensorFigures(unit=sensor.unit, source=sensor.source, n=len(sensor.values), first=first, last=last, min=low, max=high)


def _split(records: Iterable[Record]) -> tuple[dict[str, Series], dict[str, str]]:
    """The series, and the reason of each sensor that has none."""
    about: dict[str, tuple[str, str]] = {}
    reasons: dict[str, str] = {}
    points: dict[str, list[tuple[int, float]]] = {}
    for record in records:
        if record["type"] == "sensors":
            about |= {entry["name"]: (entry["unit"], entry["source"]) for entry in record["available"]}
            reasons |= {entry["name"]: entry["reason"] for entry in record["unavailable"]}
        elif record["type"] == "sensor":
            for name, value in record["values"].items():
                points.setdefault(name, []).append((record["t_ns"], value))
    series = {name: _series(name, *about[name], points[name]) for name in about if name in points}
    reasons |= {name: "it existed when sampling began, but gave no value" for name in about if name not in points}
    if raw := series.get("battery.current.raw"):
        decided = battery_current(raw.t_s, raw.values, *_counter(series))
        if isinstance(decided, str):
            reasons["battery.current"] = decided
        else:
            factor, how = decided
            series["battery.current"] = replace(
                raw, name="battery.current", unit="mA", source=f"{raw.source}; {how}", values=raw.values * factor
            )
    return series, reasons


def _series(name: str, unit: str, source: str, points: list[tuple[int, float]]) -> Series:
    # Slow sensors have records of their own, so the records may be out of order by some milliseconds.
    ordered = np.array(sorted(points), dtype=np.float64)
    return Series(name, unit, source, ordered[:, 0] / 1e9, ordered[:, 1])


def _counter(series: Mapping[str, Series]) -> tuple[np.ndarray, np.ndarray]:
    charge = series.get("battery.charge")
    return (charge.t_s, charge.values) if charge else (np.empty(0), np.empty(0))
