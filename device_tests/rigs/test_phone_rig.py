"""The phone does what tests of the harness take for granted."""

import os
import threading
import time
from pathlib import Path

from device_tests.rigs.phone import Phone


def test_a_command_ends_with_its_own_exit_code(phone: Phone) -> None:
    done = phone.adb("shell", "id -u; echo problem >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "2000\n", "problem\n")
    assert phone.sh("getprop ro.kernel.qemu; getprop ro.product.cpu.abi").split() == ["1", "x86_64"]


def test_files_go_there_and_back(phone: Phone, tmp_path: Path) -> None:
    sent = tmp_path / "sent"
    sent.write_bytes(os.urandom(3_000_000))
    assert phone.adb("push", sent, "/data/local/tmp/f").returncode == 0
    assert phone.adb("pull", "/data/local/tmp/f", tmp_path / "back").returncode == 0
    assert (tmp_path / "back").read_bytes() == sent.read_bytes() == phone.path("/data/local/tmp/f").read_bytes()


def test_sensors_change_while_it_runs_and_some_are_not_readable(phone: Phone) -> None:
    phone.state.battery(42, status=2, usb=True, temperature=40.5)
    phone.state.thermal(44.5, status=3)
    told = phone.sh("dumpsys battery; dumpsys thermalservice")
    assert "  USB powered: true\n" in told
    assert "  level: 42\n" in told
    assert "  temperature: 405\n" in told
    assert "\tTemperature{mValue=44.5, mType=3, mName=VIRTUAL-SKIN, mStatus=3}\n" in told
    assert phone.adb("shell", "cat /sys/class/power_supply/battery/current_now").returncode
    phone.state.readable("class/power_supply/battery/current_now", True)
    assert phone.sh("cat /sys/class/power_supply/battery/current_now") == "-312500\n"


def test_governor_can_be_set_only_where_it_is_allowed(phone: Phone) -> None:
    file = "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
    assert phone.adb("shell", f"echo performance > {file}").returncode
    phone.state.governor(writable=True)
    assert phone.sh(f"echo performance > {file}; cat {file}") == "performance\n"


def test_what_does_not_exist_still_ends_with_0(phone: Phone) -> None:
    done = phone.adb("shell", "dumpsys nosuch; settings get global nosuch")
    assert (done.returncode, done.stdout, done.stderr) == (0, "null\n", "Can't find service: nosuch\n")


def test_a_process_outlives_a_cut_link_but_not_a_restart(phone: Phone) -> None:
    phone.sh("setsid nohup sleep 300 >/dev/null 2>&1 &")
    phone.link.cut()
    assert phone.adb("shell", "echo up").stdout == ""
    # toybox runs its own commands without exec, so the command line is that of the first.
    assert [command for _, command in phone.processes()] == ["setsid nohup sleep 300"]
    phone.reconnect()
    assert phone.sh("pgrep -f 'sleep 30[0]'").strip()
    phone.sh("echo kept > /data/local/tmp/kept")
    phone.restart()
    assert phone.sh("cat /data/local/tmp/kept; pgrep -f 'sleep 30[0]'") == "kept\n"
    assert phone.processes() == []


def test_a_dead_phone_is_noticed(phone: Phone) -> None:
    waiting = threading.Thread(target=lambda: phone.adb("shell", "sleep 100"))
    waiting.start()
    time.sleep(0.3)
    phone.kill()
    waiting.join(timeout=20)
    assert not waiting.is_alive()
    assert phone.adb("shell", "echo up").stdout == ""


def test_link_is_cut_within_a_transfer(phone: Phone, tmp_path: Path) -> None:
    (tmp_path / "sent").write_bytes(bytes(5_000_000))
    phone.link.cut_after(1_000_000)
    assert phone.adb("push", tmp_path / "sent", "/data/local/tmp/f").returncode
    phone.reconnect()
    assert int(phone.sh("stat -c %s /data/local/tmp/f") or 0) < 5_000_000


def test_a_full_disk_takes_no_more(phone: Phone, tmp_path: Path) -> None:
    (tmp_path / "sent").write_bytes(bytes(3_000_000))
    phone.fill_disk(1_000_000)
    assert phone.adb("push", tmp_path / "sent", "/data/local/tmp/f").returncode
    phone.fill_disk(-1)
    assert phone.adb("push", tmp_path / "sent", "/data/local/tmp/f").returncode == 0


def test_a_slow_link_is_slow(phone: Phone, tmp_path: Path) -> None:
    (tmp_path / "sent").write_bytes(bytes(500_000))
    phone.link.throttle(500_000)
    began = time.monotonic()
    assert phone.adb("push", tmp_path / "sent", "/data/local/tmp/f").returncode == 0
    assert 0.7 < time.monotonic() - began < 5


def test_a_hanging_link_goes_on_where_it_stopped(phone: Phone, tmp_path: Path) -> None:
    sent = tmp_path / "sent"
    sent.write_bytes(os.urandom(3_000_000))
    before = phone.link.carried
    phone.link.cut_after(1_000_000, hang=True)
    pushing = threading.Thread(target=lambda: phone.adb("push", sent, "/data/local/tmp/f"))
    pushing.start()
    deadline = time.monotonic() + 20
    while phone.link.carried < before + 1_000_000:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    pushing.join(timeout=0.5)
    assert pushing.is_alive()
    phone.link.restore()
    pushing.join(timeout=20)
    assert phone.path("/data/local/tmp/f").read_bytes() == sent.read_bytes()


def test_a_reset_leaves_only_kits_and_those_if_they_shall(phone: Phone) -> None:
    # What tests before this one installed would be kept as well.
    phone.reset(kits=False)
    phone.sh("mkdir -p /data/local/tmp/edgedistill/kits; cd /data/local/tmp; touch edgedistill/kits/kept lost")
    phone.sh("setsid nohup sleep 300 >/dev/null 2>&1 &")
    phone.reset()
    assert phone.processes() == []
    assert phone.sh("cd /data/local/tmp; find . -type f") == "./edgedistill/kits/kept\n"
    phone.reset(kits=False)
    assert phone.sh("cd /data/local/tmp; find .") == ".\n"
