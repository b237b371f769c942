"""The figures of a stress test from the records of a device that behaves as we made it."""

import itertools
import math

import numpy as np
import pytest
from made_load import made

from edgedistill.measure import leak as leaks
from edgedistill.measure import stress
from edgedistill.measure.stress_records import loaded
from edgedistill.measure.timeline import course


def stress_figures(records):
    """The figures of a stress test, as JSON."""
    return stress.stress_figures(records).model_dump(mode="json")


def leak(*arguments, **options):
    return leaks.leak(*arguments, **options).model_dump(mode="json")


def test_a_steady_device_keeps_its_throughput_and_does_not_throttle():
    found = stress_figures(made(120))
    rate = found["throughput"]
    assert rate["initial"]["value"] == pytest.approx(200, rel=0.01)
    low, high = rate["ratio"]["interval"]
    assert 0.99 < low <= rate["ratio"]["value"] <= high < 1.01
    assert (rate["initial"]["from_s"], rate["sustained"]["to_s"]) == (5.0, pytest.approx(120, abs=1.5))
    assert found["throttling"] == {"time_s": None, "text": "did not throttle in 120 s"}
    assert [row["minute"] for row in found["by_minute"]] == [1, 2]
    assert found["by_minute"][0]["p50"] == pytest.approx(5, rel=0.01)
    assert found["latency_ms"]["p99"] == pytest.approx(5 * math.exp(0.02 * 2.326), rel=0.01)
    assert (found["rate"], found["gaps"], found["ended"]) == (None, [], "time")
    assert found["harness_cpu_share"] == pytest.approx(0.01)
    for name in ("temperature", "headroom", "battery_hours"):
        assert found[name]["value"] is None
        assert found[name]["unavailable"]


def test_a_throttled_device_tells_when_by_how_much_and_why():
    sensors = {
        "frequency.cpu0": ("MHz", lambda t: 2400 if t < 70 else 1600),
        "temperature.cpu": ("°C", lambda t: 40 + min(t, 80) / 2),
        "thermal.headroom": ("1", lambda t: min(t, 90) / 120),
    }
    found = stress_figures(made(120, slower=lambda t: 1.5 if t > 70 else 1.0, sensors=sensors, instances=2))
    assert found["throttling"]["time_s"] == pytest.approx(70, abs=2)
    assert found["throttling"]["rise"] == pytest.approx(0.5, abs=0.02)
    assert found["throttling"]["slow_share"] > 0.95
    assert found["throttling"]["text"].startswith("throttled after")
    assert found["throttling"]["text"].endswith("an inference took 50% longer (frequency fell from 2400 to 1600 MHz)")
    assert found["throughput"]["ratio"]["value"] == pytest.approx(1 / 1.5, rel=0.01)
    assert found["throughput"]["initial"]["value"] == pytest.approx(400, rel=0.01)
    heat = found["temperature"]["temperature.cpu"]
    assert (heat["start_c"], heat["end_c"], heat["peak_c"]) == (pytest.approx(40.3, abs=0.3), 80, 80)
    assert heat["peak_at_s"] == pytest.approx(80, abs=1)
    assert found["headroom"]["min_left"] == pytest.approx(0.25)
    assert set(found["timeline"]) == {"latency", "memory.instance0", "memory.instance1", *sensors}


def test_what_no_sensor_explains_is_reported_as_unexplained():
    found = stress_figures(made(60, slower=lambda t: 1.5 if t > 30 else 1.0))
    told = found["throttling"]["text"]
    assert told.startswith("slowed down after 30 s: an inference took 50% longer")
    assert told.endswith("(unexplained: no sensor reports frequency or throttling)")
    steady = {"frequency.cpu0": ("MHz", lambda t: 2400)}
    found = stress_figures(made(60, slower=lambda t: 1.5 if t > 30 else 1.0, sensors=steady))
    assert "other load changed" in found["throttling"]["text"]


def test_a_recovery_shows_in_the_share_of_slow_time():
    found = stress_figures(made(120, slower=lambda t: 1.5 if 40 < t < 60 else 1.0))
    assert found["throttling"]["time_s"] == pytest.approx(40, abs=2)
    assert found["throttling"]["slow_share"] == pytest.approx(20 / 80, abs=0.03)


def test_too_short_a_run_is_unavailable_and_no_run_too():
    found = stress_figures(made(15))
    assert found["throttling"]["time_s"]["value"] is None
    assert "15 s are too short" in found["throttling"]["text"]
    assert "15 s are too short" in found["throughput"]["unavailable"]
    assert "unavailable" in stress_figures([record for record in made(15) if record["type"] != "instance"])


def test_a_rate_tells_asked_achieved_and_lateness():
    found = stress_figures(made(60, latency_ms=5, mode="rate", rate_hz=30, slower=lambda t: 1.5 if t > 30 else 1.0))
    assert found["rate"]["asked_hz"] == 30
    assert found["rate"]["achieved_hz"] == pytest.approx(30, rel=0.02)
    assert found["rate"]["late_ms"] == {"p50": 0.05, "p95": 0.05, "p99": 0.05, "max": 0.05}
    # The load waits by itself: what counts is the time that inferences take.
    assert found["throughput"]["initial"]["value"] == pytest.approx(200, rel=0.01)
    assert found["throughput"]["ratio"]["value"] == pytest.approx(1 / 1.5, rel=0.01)
    assert found["throttling"]["time_s"] == pytest.approx(30, abs=2)
    assert found["gaps"] == []


def test_times_of_inferences_are_those_of_the_records():
    (one,) = loaded(made(10, mode="rate", rate_hz=20, noise=0)).instances
    np.testing.assert_allclose(np.diff(one.begin_s), 0.05, atol=0.006)
    np.testing.assert_allclose(one.batch_end_s, one.begin_s[9::10] + one.duration_s[9::10])


def test_gaps_deaths_and_aborts_are_listed():
    t0 = 50_000_000_000
    died = {"type": "instance_died", "index": 1, "t_ns": t0 + int(30e9), "signal": "SIGKILL", "exit": None, "last_line": "bye"}
    aborted = {"type": "aborted", "t_ns": t0 + int(50e9), "reason": "temperature", "sensor": "temperature.cpu", "value": 91, "limit": 90}

    def lost(index, t):
        return (index == 0 and 10 < t < 14) or (index == 1 and t > 30)

    found = stress_figures(made(60, instances=2, tail=[died, aborted], skip=lost, stop_s=50))
    (gap,) = found["gaps"]
    assert (gap["instance"], round(gap["from_s"]), round(gap["seconds"])) == (0, 10, 4)
    events = {event["event"]: event for event in found["events"]}
    assert events["instance_died"]["t_s"] == pytest.approx(30)
    assert (events["aborted"]["value"], events["aborted"]["limit"]) == (91, 90)
    assert found["ran_s"] == pytest.approx(50, abs=1)
    early = stress_figures(made(60, skip=lambda index, t: t > 40))
    assert [round(gap["seconds"]) for gap in early["gaps"]] == [20]


BATTERY = {
    "battery.charge": ("µAh", lambda t: 2_000_000 - 1000 * int(t * 0.25)),
    "battery.level": ("%", lambda t: 50),
    "battery.charging": ("1", lambda t: 0),
    "battery.usb": ("1", lambda t: 0),
}


def test_hours_of_the_battery_come_from_its_charge_counter():
    found = stress_figures(made(120, sensors=BATTERY))["battery_hours"]
    # 250 µAh a second are 900 mA.
    assert found["current_ma"] == pytest.approx(900, rel=0.02)
    assert found["full"]["value"] == pytest.approx(4000 / 900, rel=0.04)
    assert found["now"]["value"] == pytest.approx(2000 / 900, rel=0.04)
    low, high = found["full"]["interval"]
    assert low < 4000 / 900 < high


def test_hours_come_from_the_current_where_the_counter_did_not_move_enough():
    sensors = BATTERY | {"battery.charge": ("µAh", lambda t: 2e6), "battery.current.raw": ("1", lambda t: 500.0)}
    found = stress_figures(made(60, sensors=sensors))["battery_hours"]
    assert found["now"]["value"] == pytest.approx(4)
    assert "battery.current" in found["source"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"battery.usb": ("1", lambda t: 1)}, "USB"),
        ({"battery.charge": None}, "reports no charge"),
        ({"battery.charge": ("µAh", lambda t: 2e6)}, "did not move"),
        ({"battery.charge": ("µAh", lambda t: 2e6 + 1000 * int(t))}, "rose"),
    ],
)
def test_hours_of_a_battery_that_tells_nothing_are_unavailable(change, reason):
    sensors = {name: of for name, of in (BATTERY | change).items() if of}
    assert reason in stress_figures(made(60, sensors=sensors))["battery_hours"]["unavailable"]


T = np.arange(0, 600, 0.5)


def memory(of, seed=0):
    return leak(T, np.array([of(t) for t in T]) * 1e6 + np.random.default_rng(seed).normal(0, 4096, len(T)), warmup_s=60)


@pytest.mark.parametrize(
    ("of", "verdict", "rate"),
    [
        (lambda t: 80 + t / 60, "leak", 60),
        (lambda t: 80 + int(t / 50), "leak", 72),
        (lambda t: 80, "no leak", 0),
        (lambda t: 80 + 6 * (1 - math.exp(-t / 30)), "no leak", None),
        (lambda t: 80 + 20 * (1 - math.exp(-t / 120)), "no leak", None),
        (lambda t: 80 + 5 * (t > 200), "no leak", None),
        (lambda t: 80 + (t % 100) / 50, "no leak", None),
        (lambda t: 80 - t / 100, "no leak", -36),
        (lambda t: 80 + t / 3600, "no leak", 1),
    ],
    ids=["linear", "in steps", "none", "warm-up", "slow warm-up", "one step", "saw teeth", "falls", "below what can be told"],
)
def test_a_leak_is_growth_that_goes_on(of, verdict, rate):
    found = memory(of)
    assert found["verdict"] == verdict
    if rate is not None:
        assert found["mb_per_hour"] == pytest.approx(rate, abs=4)
        assert found["interval"][0] <= found["mb_per_hour"] <= found["interval"][1]
    assert found["detectable_mb_per_hour"] == pytest.approx(0.5 / 539.5 * 3600, rel=0.01)


def test_memory_that_wanders_is_no_leak():
    # Chosen among many: one rises from part to part, but not beyond its noise, the other beyond it, but not from part to part.
    rough = 80 + 5 * np.repeat(np.random.default_rng(652).normal(size=24), 50)
    steps = np.random.default_rng(5).normal(0, 0.14, len(T))
    wandering = 80 + np.array(list(itertools.accumulate(steps, lambda level, step: 0.99 * level + step)))
    assert [leak(T, made * 1e6, 60)["verdict"] for made in (rough, wandering)] == ["no leak"] * 2


def test_memory_that_is_unknown_or_short_is_unavailable():
    assert "does not report" in leak(T, np.full(len(T), np.nan), 60)["unavailable"]
    assert "too short" in leak(T[:100], np.full(100, 8e7), 30)["unavailable"]


def test_periods_keep_extremes_and_leave_gaps():
    values = np.full(1000, 5.0)
    values[503] = 50
    t = np.linspace(0, 100, 1000)
    found = course("ms", t[(t < 20) | (t > 40)], values[(t < 20) | (t > 40)], 100, points=20)
    assert max(found.high) == 50
    assert set(found.median) == {5.0}
    assert 22.5 not in found.t_s
    assert len(found.t_s) == 16
