"""What a board's sensors say while it is measured, changed by the tests as it goes."""

import json
import sqlite3
import threading
import time
import zlib
from contextlib import contextmanager

import pytest

from device_tests.rigs.harness import edgedistill, small_model, until


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    # So large that the emulated board takes some milliseconds for it.
    return small_model(tmp_path_factory.mktemp("model") / "small.onnx", side=32, width=256)


@pytest.fixture
def bench(board, model, tmp_path):
    return lambda *words: edgedistill(tmp_path, board.variables, "bench", model, "--device", board.spec, "--preset", "quick", *words)


def collected(folder):
    """The records that the host has of the run by now."""
    return [json.loads(line) for path in (folder / ".edgedistill/records").glob("*.jsonl") for line in path.read_text().splitlines()[:-1]]


def raw(folder):
    """The raw records of the last measurement that was stored."""
    with sqlite3.connect(folder / ".edgedistill/measurements.db") as store:
        (packed,) = store.execute("SELECT records FROM raw ORDER BY measurement DESC LIMIT 1").fetchone()
    return [json.loads(line) for line in zlib.decompress(packed).splitlines()]


def measured(command):
    assert command.wait(300) == 0, command.said
    (measurement,) = command.document["measurements"]
    return measurement


def test_a_hot_start_waits_and_then_goes_on(board, bench):
    board.sensors(temp_c=70)
    command = bench("--cool-to", 50)
    until(lambda: any(record.get("name") == "cooldown" for record in collected(command.folder)))
    time.sleep(4)
    assert not any(record.get("name") == "work" for record in collected(command.folder)), "it waits"
    board.sensors(temp_c=45)
    (cooldown,) = [one for one in measured(command)["conditions"] if one["type"] == "cooldown"]
    assert (cooldown["from_c"], cooldown["to_c"], cooldown["below_c"], cooldown["reached"]) == (70.0, 45.0, 50.0, True)
    assert cooldown["waited_s"] >= 4


def test_a_temperature_that_rises_meanwhile_is_there_within_two_samples(board, bench):
    command = bench("--seconds", 12)
    until(lambda: any(record["type"] == "iterations" for record in collected(command.folder)))
    board.sensors(temp_c=61.5)
    changed_s = float(board.control("cut -d' ' -f1 /proc/uptime"))
    measurement = measured(command)
    name = next(name for name in measurement["sensors"] if name.startswith("temperature."))
    sweeps = [record for record in raw(command.folder) if record["type"] == "sensor" and name in record["values"]]
    after = [record["values"][name] for record in sweeps if record["t_ns"] / 1e9 > changed_s]
    assert 61.5 in after[:2], after[:4]
    assert measurement["sensors"][name]["first"] == 38.0


@contextmanager
def discharging(board, milliamps, millivolts):
    """The battery's counter falls as so much current makes it, until the block ends."""
    over, began = threading.Event(), time.monotonic()

    def drain():
        while not over.wait(0.02):
            left = 4000 - milliamps * (time.monotonic() - began) / 3600
            board.sensors(milliamps=milliamps, milliamp_hours=round(left), millivolts=millivolts)

    thread = threading.Thread(target=drain)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_the_slope_of_the_battery_is_the_one_that_was_written(board, bench):
    # Far more than a real battery gives, so that its counter of whole mAh falls by some hundreds in a short test.
    with discharging(board, milliamps=30000, millivolts=4000):
        measurement = measured(bench("--seconds", 30))
    energy = measurement["energy"]
    assert energy["power_w"] == pytest.approx(120, rel=0.02), energy
    assert "charge" in energy["source"]


def test_energy_is_unavailable_while_the_battery_is_charged(board, bench):
    board.sensors(charging=True)
    energy = measured(bench())["energy"]
    assert energy["value"] is None
    assert "charg" in energy["unavailable"]


def test_a_clock_that_jumps_does_not_matter(board, bench):
    command = bench("--seconds", 8)
    until(lambda: any(record["type"] == "iterations" for record in collected(command.folder)))
    board.clock_jump(86_400)
    measurement = measured(command)
    assert measurement["latency_ms"]["p95"] < 60_000, "durations are of the monotonic clock"
    assert any("clock" in one["type"] for one in raw(command.folder))


def test_the_peak_of_memory_is_the_guest_s(board, bench):
    measurement = measured(bench())
    assert 1 < measurement["peak_rss_mb"] < 60
    assert "VmHWM" in measurement["peak_rss_source"]


def test_a_board_that_restarts_while_it_measures(board, bench):
    command = bench("--seconds", 60)
    until(lambda: any(record["type"] == "iterations" for record in collected(command.folder)))
    board.restart()
    assert command.wait() == 4
    assert "the device was rebooted during the run, after its 'iterations' record" in command.document["measurements"][0]["reasons"][0]
    assert any(record["type"] == "iterations" for record in collected(command.folder)), "what was measured until then is kept"


def test_a_user_who_is_not_root_measures_too(board, model, tmp_path):
    board.mode("/sys/class/power_supply/BAT0/charge_now", 0o400)
    command = edgedistill(tmp_path, board.variables, "bench", model, "--device", board.user_spec, "--preset", "quick")
    measurement = measured(command)
    missing = measurement["sensors"]["battery.charge"]
    assert "Permission denied" in missing["unavailable"]
    assert measurement["sensors"]["battery.level"]["last"] > 0


def test_a_key_that_changed_is_refused(board, model, tmp_path):
    config = tmp_path / "config"
    hosts = tmp_path / "hosts"
    hosts.write_text("")
    config.write_text(board.ssh_config.read_text().replace(str(next(iter(board._folder.glob("jobs_hosts")))), str(hosts)))
    command = edgedistill(tmp_path, {"EDGEDISTILL_SSH_CONFIG": str(config)}, "bench", model, "--device", board.spec, "--preset", "quick")
    assert command.wait() == 4
    assert "its host key is unknown or has changed" in command.said
