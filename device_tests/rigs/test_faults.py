"""What goes wrong with phones: nothing measured is lost, no setting stays changed, nothing stays behind, and the message says why."""

import os
import random
import signal
import threading
import time

import pytest

from device_tests.rigs.harness import edgedistill, small_model, until
from device_tests.rigs.locked_phone import LockedPhone

OURS = "/data/local/tmp/edgedistill"


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    return small_model(tmp_path_factory.mktemp("model") / "small.onnx")


@pytest.fixture
def bench(phone, model, tmp_path):
    """Start `bench` of the small model on the phone; what is left there afterwards is looked at in each test by `clean`."""
    return lambda *words: edgedistill(tmp_path, phone.variables, "bench", model, "--device", phone.spec, "--preset", "quick", *words)


def running(phone):
    """The runner's own process on the phone: (process id on this machine, command line), or None."""
    return next((one for one in phone.processes() if "-m edgedistill.measure.runner --job" in one[1] and "sh -c" not in one[1]), None)


def measuring(phone):
    """The records that a runner has written by now, when it is timing inferences."""
    return next((path for path in phone.path(f"{OURS}/jobs").glob("*/out.jsonl") if '"iterations"' in path.read_text()), None)


def clean(phone):
    """No process, job or lock is left on the phone, and the governors are what they were."""
    until(lambda: not phone.processes(), 10)
    assert not list(phone.path(f"{OURS}/jobs").glob("*"))
    assert not phone.path(f"{OURS}/lock").exists()
    assert {path.read_text().strip() for path in phone.state.sys.glob("devices/system/cpu/cpu*/cpufreq/scaling_governor")} == {"schedutil"}


def whole(command):
    """The only measurement of a command that went well."""
    assert command.wait() == 0, command.said
    (measurement,) = command.document["measurements"]
    assert measurement["latency_ms"]["n"] >= 50
    assert measurement["outputs"]["equal"] is True
    assert measurement["validity"] == "invalid"
    assert any("emulated" in reason for reason in measurement["reasons"])
    return measurement


def test_a_sensor_without_permission_has_its_reason(phone, bench):
    measurement = whole(bench())
    sensors = measurement["sensors"]
    assert "thermal_zone0/temp: Permission denied" in sensors["temperature.VIRTUAL-SKIN"]["unavailable"]
    assert sensors["temperature.hal.VIRTUAL-SKIN"]["source"] == "dumpsys thermalservice", "the service tells what the file does not"
    assert sensors["temperature.hal.VIRTUAL-SKIN"]["last"] == 31.25
    assert "current_now: Permission denied" in sensors["battery.current.raw"]["unavailable"]
    assert sensors["battery.charge"]["source"] == "dumpsys battery"
    clean(phone)


@pytest.mark.parametrize("after_bytes", [3_000_000, 60_000_000], ids=["early", "late"])
def test_a_link_that_drops_while_files_are_sent(phone, bench, after_bytes):
    phone.reset(kits=False)
    phone.link.cut_after(after_bytes)
    command = bench()
    until(lambda: not phone.link.up)
    time.sleep(1)
    phone.link.restore()
    whole(command)
    assert "trying again" in command.said
    clean(phone)


def test_a_link_that_drops_while_it_measures(phone, bench):
    command = bench("--seconds", 8)
    until(lambda: measuring(phone))
    phone.link.cut()
    time.sleep(3)
    assert running(phone), "the runner goes on without a link"
    phone.link.restore()
    whole(command)
    assert "is back after" in command.said
    clean(phone)


def test_a_link_that_drops_while_results_are_fetched(phone, bench):
    command = bench()
    until(lambda: list(phone.path(f"{OURS}/jobs").glob("*/code")))
    phone.link.cut()
    time.sleep(2)
    phone.link.restore()
    whole(command)
    clean(phone)


def test_a_phone_that_restarts_while_it_measures(phone, bench):
    command = bench("--seconds", 8)
    until(lambda: measuring(phone))
    time.sleep(2)
    phone.restart()
    assert command.wait() == 4
    (measurement,) = command.document["measurements"]
    # The phone has this machine's kernel, and so its boot: it is the processes that are gone.
    assert "the runner and what watched it were killed, after its " in measurement["reasons"][0]
    kept = list((command.folder / ".edgedistill" / "records").glob("*.jsonl"))
    assert '"iterations"' in kept[0].read_text(), "what was measured until then is kept"
    clean(phone)


def test_a_runner_that_is_killed(phone, bench):
    command = bench("--seconds", 8)
    until(lambda: measuring(phone))
    os.kill(running(phone)[0], signal.SIGKILL)
    assert command.wait() == 4
    assert "the runner was killed by SIGKILL" in command.document["measurements"][0]["reasons"][0]
    clean(phone)


def test_a_disk_that_is_full_before(phone, bench):
    phone.reset(kits=False)
    phone.fill_disk(20_000_000)
    command = bench()
    assert command.wait() == 4
    assert "No space left" in command.said or "MiB are free there" in command.said
    phone.fill_disk(-1)
    whole(bench())
    clean(phone)


def test_a_disk_that_fills_up_meanwhile(phone, bench):
    command = bench("--seconds", 8)
    until(lambda: measuring(phone))
    phone.fill_disk(0)
    assert command.wait() == 4
    reason = command.document["measurements"][0]["reasons"][0]
    assert "disk is full" in reason or "No space left" in reason
    phone.fill_disk(-1)
    clean(phone)


def test_an_adb_server_that_is_killed(phone, bench):
    command = bench("--seconds", 8)
    until(lambda: measuring(phone))
    phone.server.adb("kill-server")
    whole(command)
    clean(phone)


def test_two_sessions_on_one_phone(phone, bench):
    first = bench("--seconds", 8)
    until(lambda: running(phone))
    second = bench()
    assert second.wait() == 2
    assert f"{phone.spec} is in use by another edgedistill (process {first.process.pid})" in second.said
    whole(first)
    clean(phone)


def test_a_session_from_another_machine(phone, bench):
    lock = phone.path(f"{OURS}/lock")
    lock.mkdir(parents=True)
    (lock / "owner").write_text("ada on otherhost\n")
    (lock / "beat").write_text(phone.sh('echo "$(cat /proc/sys/kernel/random/boot_id) $(cut -d. -f1 /proc/uptime)"'))
    for path in (lock.parent, lock, *lock.iterdir()):
        os.chown(path, 2000, 2000)
    command = bench()
    assert command.wait() == 2
    assert "in use by ada on otherhost" in command.said
    (lock / "beat").write_text("another-boot 100\n")
    whole(bench())
    clean(phone)


def test_a_phone_that_does_not_come_back(phone, model, tmp_path):
    phone.kill()
    command = edgedistill(tmp_path, phone.variables, "bench", model, "--device", phone.spec, "--preset", "quick")
    assert command.wait() == 4
    assert phone.serial in command.said


def test_a_phone_that_is_not_unlocked(phone, model, tmp_path):
    with LockedPhone() as locked:
        phone.server.adb("connect", locked.serial)
        until(lambda: f"{locked.serial}\tunauthorized" in phone.server.adb("devices").stdout)
        command = edgedistill(tmp_path, phone.variables, "bench", model, "--device", locked.spec, "--preset", "quick")
        assert command.wait() == 4
        assert "unlock the phone and accept the question" in command.said
        listed = edgedistill(tmp_path, phone.variables, "devices")
        assert listed.wait() == 0
        rows = {row["spec"]: row for row in listed.document["devices"]}
        assert "unlock the phone" in rows[locked.spec]["unavailable"]
        assert rows[phone.spec]["model"] == "EdgeRig Rig phone"
        phone.server.adb("disconnect", locked.serial)


def test_several_devices_at_once(phone, model, tmp_path):
    (tmp_path / "fleet.yaml").write_text(f"devices:\n  desk: {{device: '{phone.spec}', tags: [phone]}}\n  here: {{device: local}}\n")
    command = edgedistill(tmp_path, phone.variables, "bench", model, "--device", "phone", "--device", "here", "--preset", "quick")
    assert command.wait() == 0, command.said
    assert [one["device"] for one in command.document["devices"]] == [phone.spec, "local"]
    assert all(one["measurements"][0]["latency_ms"]["n"] >= 50 for one in command.document["devices"])
    clean(phone)


def test_a_governor_is_put_back(phone, bench):
    phone.state.governor(writable=True)
    measurement = whole(bench("--governor", "performance"))
    changed = [one for one in measurement["conditions"] if one["type"] == "setting"]
    assert {one["after"] for one in changed} == {"performance"}
    assert {one["value"] for one in measurement["conditions"] if one["type"] == "restored"} == {"schedutil"}
    clean(phone)


def test_a_governor_is_put_back_after_a_kill(phone, bench):
    phone.state.governor(writable=True)
    command = bench("--governor", "performance", "--seconds", 8)
    until(lambda: measuring(phone))
    assert phone.state.sys.joinpath("devices/system/cpu/cpu0/cpufreq/scaling_governor").read_text().strip() == "performance"
    for process, command_line in phone.processes():
        if "edgedistill.measure.runner --job" in command_line:
            os.kill(process, signal.SIGKILL)
    assert command.wait() == 4
    clean(phone)


def test_a_session_that_was_killed_is_cleaned_up_by_the_next(phone, bench):
    phone.state.governor(writable=True)
    command = bench("--governor", "performance", "--seconds", 8)
    until(lambda: measuring(phone))
    command.process.kill()
    command.wait()
    assert running(phone), "nobody was there to end it"
    whole(bench())
    clean(phone)


@pytest.mark.parametrize("number", range(10))
def test_ctrl_c_at_any_moment(phone, bench, number):
    # The first half of them may come while the kit is sent and unpacked.
    phone.reset(kits=number >= 5)
    phone.state.governor(writable=True)
    command = bench("--governor", "performance", "--seconds", 20)
    moment = random.Random(number).uniform(0.5, 12)
    threading.Timer(moment, command.interrupt).start()
    assert command.wait() == 130, command.said
    assert "interrupted" in command.said
    clean(phone)


def test_a_request_to_end_tidies_up_too(phone, bench):
    command = bench("--seconds", 8)
    until(lambda: measuring(phone))
    command.process.send_signal(signal.SIGTERM)
    assert command.wait() == 130
    clean(phone)
