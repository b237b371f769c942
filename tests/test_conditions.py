"""Conditions of a measurement: cores, governor, a cool device, and what makes a measurement valid."""

import os
import subprocess
from contextlib import ExitStack

import numpy as np
import pytest

from edgedistill.errors import UserError
from edgedistill.measure import presets
from edgedistill.measure.harness import Protocol
from edgedistill.measure.runner import conditions, placement, settings
from edgedistill.measure.series import Series
from edgedistill.measure.validity import judge


class Collected(list):
    def write(self, record, /, **fields):
        self.append({"type": record, **fields})


@pytest.fixture
def sysfs(tmp_path):
    """A processor of two little and two big cores, with a policy each and the links that Linux has."""
    for core, (policy, top, capacity) in enumerate([(0, 1800000, 400), (0, 1800000, 400), (2, 2400000, 1024), (2, 2400000, 1024)]):
        folder = tmp_path / f"sys/devices/system/cpu/cpufreq/policy{policy}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "scaling_governor").write_text("schedutil\n")
        (folder / "cpuinfo_max_freq").write_text(f"{top}\n")
        cpu = tmp_path / f"sys/devices/system/cpu/cpu{core}"
        cpu.mkdir()
        (cpu / "cpufreq").symlink_to(folder)
        (cpu / "cpu_capacity").write_text(f"{capacity}\n")
    return tmp_path


def test_big_and_little_cores_are_reported_apart(sysfs):
    assert placement.clusters(sysfs) == [{"cores": [0, 1], "max_mhz": 1800.0}, {"cores": [2, 3], "max_mhz": 2400.0}]
    assert placement.chosen("big", sysfs) == [2, 3]
    assert placement.chosen("little", sysfs) == [0, 1]
    assert placement.chosen([3], sysfs) == [3]


def test_cores_that_are_alike_have_no_big_ones(tmp_path):
    for core in range(2):
        (tmp_path / f"sys/devices/system/cpu/cpu{core}").mkdir(parents=True)
    with pytest.raises(ValueError, match="all cores of this processor are alike"):
        placement.chosen("big", tmp_path)


def test_a_process_is_bound_to_its_cores():
    before = os.sched_getaffinity(0)
    try:
        assert placement.place([min(before)])["cores"] == [min(before)]
        with pytest.raises(ValueError, match="can't be bound to the cores"):
            placement.place([4095])
    finally:
        os.sched_setaffinity(0, before)
    assert placement.place(None)["cores"] == sorted(before)


def test_a_governor_is_set_once_a_policy_and_put_back(sysfs, tmp_path):
    records = Collected()
    with settings.governor("performance", tmp_path, records, sysfs):
        assert set(settings.governors(sysfs).values()) == {"performance"}
        undo = (tmp_path / settings.UNDO).read_text()
        assert undo.count("echo schedutil > ") == 2
    assert set(settings.governors(sysfs).values()) == {"schedutil"}
    assert [record["type"] for record in records] == ["setting", "setting", "restored", "restored"]
    assert not (tmp_path / settings.UNDO).exists()


def test_a_governor_is_put_back_after_an_error_and_by_the_script(sysfs, tmp_path):
    stack = ExitStack()
    stack.enter_context(settings.governor("performance", tmp_path, Collected(), sysfs))
    script = (tmp_path / settings.UNDO).read_text()
    assert not stack.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert set(settings.governors(sysfs).values()) == {"schedutil"}
    for path in settings.governors(sysfs):
        with open(path, "w") as file:
            file.write("performance")
    assert subprocess.run(["sh", "-c", script]).returncode == 0
    assert set(settings.governors(sysfs).values()) == {"schedutil"}


@pytest.mark.parametrize("call", ["write_text", "read_text"])
def test_a_governor_is_put_back_when_the_request_to_end_comes_while_it_is_set(sysfs, tmp_path, monkeypatch, call):
    plain, records = getattr(settings.Path, call), Collected()

    def interrupted(path, *words):
        # The signal arrives when the file is written, or was read back, but nobody has noted that yet.
        result = plain(path, *words)
        if "performance" in (*words, result):
            raise SystemExit(143)
        return result

    monkeypatch.setattr(settings.Path, call, interrupted)
    with pytest.raises(SystemExit), settings.governor("performance", tmp_path, records, sysfs):
        pass
    monkeypatch.undo()
    assert set(settings.governors(sysfs).values()) == {"schedutil"}
    assert [(one["type"], one["ok"]) for one in records] == [("restored", True)]


def test_a_governor_that_can_t_be_set_says_why(sysfs, tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "_set", lambda path, value: "Permission denied")
    records = Collected()
    with settings.governor("performance", tmp_path, records, sysfs):
        pass
    assert {(record["after"], record["reason"]) for record in records} == {("schedutil", "Permission denied")}


def test_nothing_to_set_is_reported(tmp_path):
    records = Collected()
    with settings.governor("performance", tmp_path, records, tmp_path):
        pass
    assert "no policy" in records[0]["reason"]


def test_a_hot_device_is_waited_for(monkeypatch):
    temperatures = iter([72.0, 71.0, 60.0, 54.0])
    monkeypatch.setattr(conditions, "_LOOK_S", 0.01)
    records = Collected()
    conditions.cool_down({"below_c": None, "timeout_s": 20}, lambda: {"temperature.cpu-0": next(temperatures)}, records)
    assert records[0] | {"waited_s": 0} == {
        "type": "cooldown", "sensor": "temperature.cpu-0", "from_c": 72.0, "to_c": 54.0, "below_c": 55.0, "waited_s": 0, "reached": True
    }  # fmt: skip
    assert records[0]["waited_s"] > 0


def test_a_cool_device_is_not_waited_for_and_a_hot_one_not_for_ever(monkeypatch):
    monkeypatch.setattr(conditions, "_LOOK_S", 0.01)
    records = Collected()
    conditions.cool_down({"below_c": 40.0, "timeout_s": 20}, lambda: {"temperature.skin": 30.0}, records)
    conditions.cool_down({"below_c": 40.0, "timeout_s": 0.05}, lambda: {"temperature.skin": 45.0}, records)
    assert [(record["reached"], record["waited_s"] > 0) for record in records] == [(True, False), (False, True)]
    monkeypatch.setattr(conditions, "_FIRST_VALUES_S", 0.02)
    conditions.cool_down({"below_c": 40.0, "timeout_s": 20}, dict, records)
    assert records[-1]["reason"] == "no sensor gives a temperature"


@pytest.mark.parametrize(
    ("values", "sensor"),
    [
        (
            {"temperature.cpu-0": 50.0, "temperature.cpu-1": 52.0, "temperature.VIRTUAL-SKIN": 33.0, "battery.temperature": 30.0},
            "temperature.VIRTUAL-SKIN",
        ),
        ({"temperature.cpu-0": 50.0, "temperature.cpu-1": 52.0, "temperature.usb": 60.0}, "temperature.cpu-1"),
        ({"temperature.acpitz": 40.0, "battery.temperature": 45.0}, "temperature.acpitz"),
        ({"battery.temperature": 45.0}, "battery.temperature"),
    ],
    ids=["skin first", "processor then", "any zone then", "battery last"],
)
def test_one_sensor_speaks_for_the_device(values, sensor):
    assert conditions.hottest(values)[0] == sensor


def _series(name, values, source="a file"):
    return {name: Series(name, "", source, np.arange(len(values), dtype=float), np.array(values, dtype=float))}


def test_a_good_measurement_is_valid():
    assert judge(None, [], _series("frequency.cpu0", [2400] * 40), steady=True, widths=(0.004, 0.01)) == ("valid", [])


@pytest.mark.parametrize(
    ("series", "validity", "reason"),
    [
        (_series("frequency.cpu0", [2400] * 20 + [1500] * 20), "throttled", "frequency.cpu0 was below 90% of its first 2400 MHz for 50%"),
        (_series("throttled.firmware", [0, 0x50005, 0], "vcgencmd get_throttled"), "throttled", "vcgencmd get_throttled says 0x5"),
        (_series("thermal.status", [0, 1, 3]), "throttled", "thermal status was 3"),
        (_series("battery.charging", [0, 1]), "noisy", "charging"),
        (_series("load.others", [0.4, 0.5, 0.6]), "noisy", "other processes took 50%"),
    ],
    ids=["frequency", "bits", "status", "charging", "busy"],
)
def test_what_the_sensors_say_is_judged(series, validity, reason):
    found, reasons = judge(None, [], series, steady=True, widths=(0.004, 0.01))
    assert found == validity
    assert reason in reasons[0]


def test_bits_of_long_ago_are_no_throttling():
    assert judge(None, [], _series("throttled.firmware", [0x50000, 0x50000]))[0] == "valid"


def test_the_worst_reason_decides_and_all_are_reported():
    hot = {"type": "cooldown", "reached": False, "waited_s": 300.0, "sensor": "temperature.skin", "to_c": 41.0, "below_c": 35.0}
    validity, reasons = judge("emulated: QEMU", [hot], _series("thermal.status", [3]), steady=False, widths=(0.05, 0.01))
    assert validity == "invalid"
    assert len(reasons) == 5
    assert "still at 41.0 °C, and 35.0 °C is required" in reasons[1]


def test_presets_say_what_they_ask_for():
    assert Protocol("mlperf").sampling["min_samples"] == 1024
    assert Protocol("mlperf").sampling["min_s"] == 60
    assert (Protocol("quick", seconds=7).sampling["min_s"], Protocol("quick", seconds=7).sampling["max_s"]) == (7, 7)
    with pytest.raises(UserError, match="found 'fast', expected quick, standard, mlperf"):
        Protocol("fast")
    assert presets.conditions("quick", cool_to=None, cores=None, governor=None)["cooldown"] is None
    assert presets.conditions("quick", cool_to=33.0, cores=None, governor=None)["cooldown"] == {"below_c": 33.0, "timeout_s": 300.0}
    assert presets.conditions("standard", cool_to=None, cores="big", governor=None)["affinity"] == "big"
