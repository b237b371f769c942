"""Energy of an inference from counters that move in steps and from power samples, and the reasons for which there is none."""

import numpy as np
import pytest

from edgedistill.measure import energy as part
from edgedistill.measure.counters import counter_rate, resolution
from edgedistill.measure.energy import inference_times
from edgedistill.measure.power import battery_counter
from edgedistill.measure.series import Series

IDLE_S, LOAD_S = 600.0, 600.0


def energy(*arguments, **options):
    """The energy of an inference, as JSON."""
    return part.energy(*arguments, **options).model_dump(mode="json")


def energy_of(records):
    return part.energy_of(records).model_dump(mode="json")


def series(name, unit, t_s, values, source="file"):
    return Series(name, unit, source, np.asarray(t_s, dtype=float), np.broadcast_to(np.asarray(values, dtype=float), np.shape(t_s)).copy())


def inferences(start_s=IDLE_S, seconds=LOAD_S, each_s=0.1):
    begins = np.arange(start_s, start_s + seconds, each_s)
    return begins, begins + each_s


def phone(idle_ma=200.0, load_ma=1200.0, step=1000.0, every_s=0.5, refresh_s=0.0, usb=0, millivolts=3800.0):
    """A phone's battery that counts in steps, idle for 600 s and then under load for 600 s."""
    t = np.arange(0, IDLE_S + LOAD_S, every_s)
    seen = t if not refresh_s else np.floor(t / refresh_s) * refresh_s
    used = (idle_ma * np.minimum(seen, IDLE_S) + load_ma * np.maximum(seen - IDLE_S, 0)) / 3.6
    charge = np.floor((3_900_000.4 - used) / step) * step
    found = {
        "battery.charge": series("battery.charge", "µAh", t, charge),
        "battery.voltage": series("battery.voltage", "mV", t, millivolts),
        "battery.charging": series("battery.charging", "1", t, 0),
        "battery.usb": series("battery.usb", "1", t, usb),
    }
    return found, {name: one.between(0, IDLE_S) for name, one in found.items()}


@pytest.mark.parametrize(
    ("step", "every_s", "refresh_s"), [(1000, 0.5, 0), (1, 0.5, 0), (1000, 2, 0), (100, 2, 10), (1, 2, 60), (5000, 0.5, 0)]
)
def test_the_slope_of_a_battery_and_its_interval(step, every_s, refresh_s):
    load, idle = phone(step=step, every_s=every_s, refresh_s=refresh_s)
    found = energy(load, idle, *inferences())
    truth = (1.2 - 0.2) * 3.8 * 0.1 * 1000
    assert found["mj_per_inference"] == pytest.approx(truth, rel=0.02)
    low, high = found["interval"]
    assert low <= truth <= high
    assert high - low > truth * step / (1200 / 3.6 * LOAD_S)
    assert found["power_w"] == pytest.approx(1.2 * 3.8, rel=0.02)
    assert found["idle_w"] == pytest.approx(0.2 * 3.8, rel=0.1)
    assert found["window_s"] == pytest.approx(LOAD_S)
    assert found["n"] == 6000
    assert found["source"] == "slope of battery.charge: file; times the mean of battery.voltage"


def test_the_interval_holds_for_many_phases_of_the_steps():
    """A hundred loads whose steps begin anywhere: the interval always holds what was drawn, and is not ten times wider than need be."""
    generator = np.random.default_rng(0)
    wide = []
    for _ in range(100):
        milliamperes, offset = generator.uniform(300, 3000), generator.uniform(0, 1000)
        t = np.arange(0, 120, 0.5) + generator.uniform(0, 0.4, 240)
        rate = counter_rate(t, np.floor((3e6 + offset - milliamperes / 3.6 * t) / 1000) * 1000, 1000.0)
        assert rate.low <= -milliamperes / 3.6 <= rate.high
        assert rate.value == pytest.approx(-milliamperes / 3.6, rel=0.02)
        wide.append((rate.high - rate.low) / 2 / (1000 / 120))
    assert np.mean(wide) < 2


def test_the_bounds_are_a_step_and_a_reading_at_each_end():
    rate = counter_rate(np.arange(0.0, 70, 10), np.arange(8000.0, 1000, -1000), 1000.0)
    assert rate.value == pytest.approx(-100)
    assert rate.low == pytest.approx(-(5000 + 1000) / (50 - 10))
    assert rate.high == pytest.approx(-(5000 - 1000) / (60 - 0))


def test_a_window_that_is_too_short_says_how_long_it_takes():
    assert "did not move within 60 s, so measuring it takes more than 300 s" in counter_rate(np.arange(61.0), np.full(61, 3e6), 1000.0)
    two = counter_rate(np.arange(61.0), 3e6 - np.floor(np.arange(61) / 20) * 1000, 1000.0)
    assert two == "the counter has steps of 1000 and made 3 within 60 s, so measuring it takes about 100 s"
    load, _ = phone(step=5000)
    idle = {name: one.between(0, 20) for name, one in load.items()}
    found = energy(load, idle, *inferences())
    assert (
        "idle, battery.charge: the counter moved once within 20 s, so measuring it takes more than 100 s"
        in found["mj_per_inference"]["unavailable"]
    )
    assert found["idle_w"]["value"] is None
    assert found["power_w"] == pytest.approx(4.56, rel=0.02)


def test_the_resolution_of_a_counter_is_known_better_from_more_of_it():
    assert resolution(np.array([9000.0, 9000, 6000])) == 3000
    assert resolution(np.array([9000.0, 9000, 6000]), np.array([6000.0, 4000])) == 1000
    assert resolution(np.array([9000.0, 9000])) is None
    t = np.arange(0, 60, 20.0)

    def battery(*charge):
        parts = {"battery.charge": np.array(charge), "battery.voltage": 3800, "battery.usb": 0}
        return {name: series(name, {"battery.charge": "µAh"}.get(name, "1"), t, values) for name, values in parts.items()}

    alone = battery_counter([battery(19e3, 16e3, 13e3)], 0)
    assert alone.startswith("battery.charge: the counter has steps of 3000")
    known = battery_counter([battery(19e3, 16e3, 10e3), battery(30e3, 30e3, 29e3)], 0)
    assert known.watts == pytest.approx(6e-3 / 20 * 3600 * 3.8)
    assert 0 < known.low < known.watts < known.high


@pytest.mark.parametrize(
    ("flag", "when", "said"),
    [("battery.usb", 1100, "USB or another"), ("battery.usb", 605, "USB or another"), ("battery.charging", 10, "battery is charged")],
)
def test_nothing_is_reported_when_something_else_powered_the_device_once(flag, when, said):
    load, _ = phone()
    load[flag].values[load[flag].t_s == when] = 1
    idle = {name: one.between(0, IDLE_S) for name, one in load.items()}
    load["battery.current"] = series("battery.current", "mA", load[flag].t_s, 1200)
    found = energy(load, idle, *inferences(610, 590))
    assert found["value"] is None
    assert said in found["unavailable"]


def test_nothing_is_reported_when_nobody_knows_what_powers_the_device():
    load, idle = phone()
    for name in ("battery.usb", "battery.charging"):
        del load[name], idle[name]
    assert "it is not known" in energy(load, idle, *inferences())["unavailable"]


def test_power_samples_and_their_interval():
    generator = np.random.default_rng(1)
    t = np.arange(0, 120, 0.5)
    watts = np.where(t < 60, 2.0, 5.0) + generator.normal(0, 0.3, len(t))
    every = {"power.ina219": series("power.ina219", "W", t, watts, "/sys/class/hwmon/hwmon0 (ina219)")}
    found = energy(every, {"power.ina219": every["power.ina219"].between(0, 59)}, *inferences(60, 60, 0.02))
    assert found["mj_per_inference"] == pytest.approx(3.0 * 20, rel=0.05)
    low, high = found["interval"]
    assert low < 60 < high
    assert high - low < 12
    assert found["source"].startswith("power.ina219")


def test_the_first_source_that_tells_load_and_idle_is_taken():
    load, idle = phone()
    t = load["battery.charge"].t_s
    load["battery.current"] = series("battery.current", "mA", t, np.where(t < IDLE_S, 210, 1190))
    load["power.pmic"] = series("power.pmic", "W", t, np.where(t < IDLE_S, 1, 2.5))
    idle = {name: one.between(0, IDLE_S) for name, one in load.items()}
    assert energy(load, idle, *inferences())["mj_per_inference"] == pytest.approx(150, rel=0.01)
    load["power.meter.wall"] = series("power.meter.wall", "W", t, np.where(t < IDLE_S, 2, 4))
    without = energy(load, idle, *inferences())
    assert without["mj_per_inference"] == pytest.approx(150, rel=0.01), "the meter does not know the idle power"
    idle["power.meter.wall"] = load["power.meter.wall"].between(0, IDLE_S)
    assert energy(load, idle, *inferences())["mj_per_inference"] == pytest.approx(200, rel=0.01)
    chosen = energy(load, idle, *inferences(), sensor="power.pmic")
    assert chosen["mj_per_inference"] == pytest.approx(150, rel=0.01)
    load["power.meter.other"] = load["power.meter.wall"]
    load["power.meter.other"] = series("power.meter.other", "W", t, 1)
    assert energy(load, idle, *inferences())["source"].startswith("power.pmic")
    del load["power.pmic"], load["power.meter.wall"], load["power.meter.other"]
    load["battery.charge"] = series("battery.charge", "µAh", t, 3e6)
    by_current = energy(load, idle, *inferences())
    assert by_current["mj_per_inference"] == pytest.approx((1190 - 210) * 3.8 * 0.1, rel=0.01)


def test_energy_counters_of_a_processor():
    t = np.arange(0, 120, 0.5)
    counts = np.where(t < 60, 5e6 * t, 3e8 + 20e6 * (t - 60))
    every = {f"energy.rapl.package-{index}": series(f"energy.rapl.package-{index}", "µJ", t, counts) for index in (0, 1)}
    every["energy.rapl.package-0.dram"] = series("energy.rapl.package-0.dram", "µJ", t, counts)
    idle = {name: one.between(0, 59) for name, one in every.items()}
    found = energy(every, idle, *inferences(60, 60))
    assert found["mj_per_inference"] == pytest.approx(30 * 0.1 * 1000, rel=0.01)
    assert found["interval"][0] < 3000 < found["interval"][1]


def test_reasons_when_nothing_measures_power():
    assert energy({}, {}, *inferences()) == {"value": None, "unavailable": "no sensor of this device reports power"}
    assert energy({}, {}, np.empty(0), np.empty(0))["unavailable"] == "no inference was timed"
    load, _ = phone()
    found = energy(load, None, *inferences())
    assert found["mj_per_inference"]["unavailable"] == "the power of the idle device was not measured before the load"
    assert found["power_w"] == pytest.approx(4.56, rel=0.02)
    few = {"power.pmic": series("power.pmic", "W", np.arange(600.0, 605), 1)}
    assert energy(few, few, *inferences())["unavailable"] == "power.pmic gave 5 samples, but at least 16 are needed"
    raw = {"battery.current.raw": series("battery.current.raw", "unknown", np.arange(600.0, 605), 9)}
    assert "unit is unknown" in energy(raw, raw, *inferences())["unavailable"]
    assert "no sensor power.ina226" in energy(load, load, *inferences(), sensor="power.ina226")["unavailable"]
    load["battery.charge"] = series("battery.charge", "µAh", load["battery.usb"].t_s, load["battery.charge"].values[::-1])
    assert "it rose" in energy(load, load, *inferences())["unavailable"]


def test_energy_of_the_records_of_a_run():
    load, _ = phone()
    names = [{"name": name, "unit": one.unit, "source": "file"} for name, one in load.items()]
    records = [{"type": "sensors", "interval_s": 0.5, "available": names, "unavailable": []}]
    for index, t in enumerate(load["battery.charge"].t_s):
        records.append({"type": "sensor", "t_ns": round(t * 1e9), "values": {name: one.values[index] for name, one in load.items()}})
    for name, t in (("cooldown", 0), ("idle", 5), ("work", 599), ("end", 1200)):
        records.append({"type": "phase", "name": name, "t_ns": round(t * 1e9)})
    records += [
        {"type": "iterations", "t0_ns": round((600 + 10 * index) * 1e9), "durations_ns": [100_000_000] * 100} for index in range(59)
    ]
    found = energy_of(records)
    assert found["mj_per_inference"] == pytest.approx(380, rel=0.02)
    assert found["n"] == 5900
    assert "not measured" in energy_of([record for record in records if record["type"] != "phase"])["mj_per_inference"]["unavailable"]


def test_times_of_inferences():
    begins, ends = inference_times(
        [
            {"type": "instance", "t0_ns": 20, "durations_ns": [3, 4], "waited_ns": [0, 5]},
            {"type": "instance", "t0_ns": 50, "durations_ns": [1], "waited_ns": None},
            {"type": "iterations", "t0_ns": 10, "durations_ns": [1, 2, 3]},
        ]
    )
    np.testing.assert_allclose(begins * 1e9, [10, 11, 13, 20, 28, 50])
    np.testing.assert_allclose(ends * 1e9, [11, 13, 16, 23, 32, 51])
