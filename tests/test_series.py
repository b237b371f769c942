"""Sensor records as series, and the unit of a battery's current."""

import numpy as np
import pytest

from edgedistill.measure.battery import battery_current
from edgedistill.measure.series import sensor_figures, series_of


def sensors(available, unavailable=()):
    return {
        "type": "sensors",
        "interval_s": 0.5,
        "available": [{"name": name, "unit": unit, "source": "file"} for name, unit in available.items()],
        "unavailable": [{"name": name, "unit": "1", "reason": reason} for name, reason in dict(unavailable).items()],
    }


def sweep(t_s, **values):
    return {"type": "sensor", "t_ns": round(t_s * 1e9), "values": {name.replace("_", "."): value for name, value in values.items()}}


def test_series_and_figures_of_records():
    records = [
        {"type": "start", "nonce": "1"},
        sensors({"temperature.cpu": "°C", "thermal.status": "1"}, {"battery": "no battery", "load.cpu": "first"}),
        sweep(1.0, temperature_cpu=40.0),
        sweep(2.0, temperature_cpu=43.0),
        sweep(1.5, temperature_cpu=45.0),
        sensors({}, {"sensors": "the sampling process ended"}),
        {"type": "end"},
    ]
    series = series_of(records)["temperature.cpu"]
    assert (series.unit, series.source) == ("°C", "file")
    assert series.t_s.tolist() == [1.0, 1.5, 2.0]
    assert series.values.tolist() == [40.0, 45.0, 43.0]
    assert series.between(1.5, 2.0).values.tolist() == [45.0, 43.0]
    figures = {name: sensor.model_dump(mode="json") for name, sensor in sensor_figures(records).items()}
    assert figures["temperature.cpu"] == {"unit": "°C", "source": "file", "n": 3, "first": 40, "last": 43, "min": 40, "max": 45}
    assert figures["battery"] == {"value": None, "unavailable": "no battery"}
    assert figures["sensors"] == {"value": None, "unavailable": "the sampling process ended"}
    assert figures["thermal.status"]["unavailable"] == "it existed when sampling began, but gave no value"
    assert set(series_of(records)) == {"temperature.cpu"}


def test_the_current_is_given_in_milliamperes_when_its_unit_is_known():
    known = [sensors({"battery.current.raw": "unknown"}), sweep(0, battery_current_raw=412000.0)]
    series = series_of(known)["battery.current"]
    assert (series.unit, series.values.tolist()) == ("mA", [412.0])
    assert "µA by its size" in series.source
    unknown = [sensors({"battery.current.raw": "unknown"}), sweep(0, battery_current_raw=9.0)]
    assert "battery.current" not in series_of(unknown)
    assert sensor_figures(unknown)["battery.current"].unavailable.startswith("unit unknown")


@pytest.mark.parametrize(
    ("raw", "drawn_ma", "reported"),
    [
        (1_250_000, 1250, 1e-3),
        (1250, 1250, 1.0),
        (8000, 8, 1e-3),
        (1250, None, 1.0),
        (15, None, None),
        (300, 20_000, None),
        (-900, -900, 1.0),
    ],
)
def test_the_unit_of_a_current(raw, drawn_ma, reported):
    """By the charge counter where it moved, else by the size; 8000 looks like mA, and the counter says that it is µA."""
    t = np.arange(0, 120, 0.5)
    charge = np.empty(0) if drawn_ma is None else 4e6 - np.floor(drawn_ma * t / 3.6 / 10) * 10
    decided = battery_current(t, np.full(len(t), float(raw)), t[: len(charge)], charge)
    if reported is None:
        assert decided.startswith("unit unknown")
    else:
        assert decided[0] == reported
        assert ("by the charge counter" in decided[1]) == (drawn_ma is not None)
