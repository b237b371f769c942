"""Devices: how they are named, what their answers mean, and whether what they say is a fact."""

import signal
import subprocess
import sys
import textwrap
import time

import pytest

from edgedistill.errors import DeviceFailed, UserError
from edgedistill.measure import fleet
from edgedistill.measure.devices import adb, facts, open_device
from edgedistill.measure.devices.base import LinkLost, Reply
from edgedistill.measure.devices.commands import call, unwrap, with_exit_code, without_interrupts
from edgedistill.measure.devices.local import LocalDevice
from edgedistill.measure.locks import locked
from edgedistill.measure.session import patiently


@pytest.mark.parametrize("spec", ["adb:", "ssh:", "ssh:-oProxyCommand=x@h", "ssh:user@-host", "usb:1", "pixel", "ios:00-1", "ssh:a b@host"])
def test_a_spec_that_is_none_is_refused(spec):
    with pytest.raises(UserError, match="found device"):
        open_device(spec)


def test_specs_name_their_devices():
    assert open_device("adb:127.0.0.1:5555").spec == "adb:127.0.0.1:5555"
    assert open_device("ssh:pi@[fe80::1]:2222").spec == "ssh:pi@[fe80::1]:2222"
    assert open_device("ssh:alias").spec == "ssh:alias"
    assert open_device("local").spec == "local"


def test_ssh_gets_user_port_and_host_apart():
    command = open_device("ssh:pi@[fe80::1]:2222")._command()
    assert command[-2:] == ["--", "fe80::1"]
    assert command[command.index("-p") + 1] == "2222"
    assert command[command.index("-l") + 1] == "pi"
    assert "StrictHostKeyChecking" not in " ".join(command), "host keys are checked as the user's configuration says"


@pytest.mark.parametrize("code", [0, 7, 255])
def test_the_end_of_a_script_is_proven(code):
    script, word = with_exit_code(f"echo one; echo two >&2; (exit {code})")
    assert unwrap(call(["sh", "-c", script], timeout_s=20), word, "lost") == Reply(code, "one\n", "two\n")


def test_output_without_a_line_end_stays_itself():
    script, word = with_exit_code("printf abc")
    assert unwrap(call(["sh", "-c", script], timeout_s=20), word, "lost").out == "abc"


def test_a_client_that_returns_0_without_the_last_line_has_lost_the_link():
    _, word = with_exit_code("true")
    with pytest.raises(LinkLost, match="the link dropped: oh"):
        unwrap(Reply(0, "half an answer", "well\noh\n"), word, "the link dropped")


def test_a_script_that_reads_its_input_does_not_eat_the_rest():
    script, word = with_exit_code("cat")
    assert unwrap(call(["sh"], timeout_s=20, stdin=script.encode()), word, "lost").code == 0


def test_a_command_that_hangs_is_ended_with_what_it_started():
    with pytest.raises(DeviceFailed, match=r"`sh` had not answered after 0\.5 s"):
        call(["sh", "-c", "sleep 61.25 & sleep 61.25"], timeout_s=0.5)
    # The system ends a process a moment after it was told to.
    deadline = time.monotonic() + 5
    while subprocess.run(["pgrep", "-f", "sleep 61.25"], capture_output=True).returncode == 0:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_program_that_is_missing_is_named():
    with pytest.raises(DeviceFailed, match="no-such-program is not installed"):
        call(["no-such-program"], timeout_s=1)


def test_an_interrupt_waits_for_the_end_of_a_clean_up():
    code = textwrap.dedent("""
        import os, signal, time
        from edgedistill.measure.devices.commands import without_interrupts
        try:
            with without_interrupts():
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.2)
                print("cleaned", flush=True)
            print("went on")
        except KeyboardInterrupt:
            print("interrupted")
    """)
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split() == ["cleaned", "interrupted"]
    before = signal.getsignal(signal.SIGINT)
    with without_interrupts():
        pass
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(
    ("said", "raised", "message"),
    [
        ("adb: device 'X1' not found\n", LinkLost, "device 'X1' not found"),
        ("error: device offline\n", LinkLost, "device offline"),
        ("error: closed\n", LinkLost, "closed"),
        ("adb: device unauthorized.\nThis adb server's $ADB_VENDOR_KEYS is not set\n", DeviceFailed, "unlock the phone"),
        ("error: no permissions (missing udev rules?)\n", DeviceFailed, "udev rules"),
    ],
)
def test_what_adb_says_is_understood(said, raised, message):
    with pytest.raises(raised, match=message):
        adb.AdbDevice("X1")._check(Reply(1, "", said))


def test_what_a_script_says_is_not_taken_for_adb():
    adb.AdbDevice("X1")._check(Reply(1, "", "sh: foo: not found\ncat: closed\n"))


def test_phones_are_listed(monkeypatch):
    text = (
        "List of devices attached\n0A1B   device usb:1-1 product:shiba model:Pixel_8 device:shiba\n"
        "EMU unauthorized transport_id:2\nZ no permissions (udev); see [u]\n"
    )
    monkeypatch.setattr(adb, "call", lambda *_, **__: Reply(0, text, ""))
    assert adb.attached() == [
        {"serial": "0A1B", "state": "device", "model": "Pixel 8"},
        {"serial": "EMU", "state": "unauthorized", "model": ""},
        {"serial": "Z", "state": "no permissions", "model": ""},
    ]
    assert adb.refusal("device") is None
    assert "unlock" in adb.refusal("unauthorized")
    assert "offline" in adb.refusal("offline")


_PHONE = """
machine=aarch64
kernel=Linux 6.1.75
ro.product.manufacturer=Google
ro.product.model=Pixel 8
ro.soc.manufacturer=Google
ro.soc.model=Tensor G3
ro.product.cpu.abi=arm64-v8a
ro.build.version.release=14
ro.build.version.sdk=34
user=shell
memory_kb=7800000
core=0 1704000
core=8 2914000
can.frequency=yes
can.thermal_zone=denied
can.thermalservice=yes
can.power_supply=denied
governor=sched_pixel
dumpsys.battery=level: 81
dumpsys.battery=status: 2
dumpsys.battery=USB powered: true
dumpsys.battery=AC powered: false
"""


def parsed(text):
    """The facts in the output of the script, as JSON."""
    return facts.parse(text, "ssh:host").model_dump(mode="json")


def test_a_phone_is_known_by_what_it_tells():
    found = parsed(_PHONE)
    assert (found["model"], found["soc"], found["os"], found["abi"]) == (
        "Google Pixel 8",
        "Google Tensor G3",
        "Android 14 (API 34)",
        "arm64-v8a",
    )
    assert found["cores"] == [{"core": 0, "max_mhz": 1704.0}, {"core": 8, "max_mhz": 2914.0}]
    assert found["battery"] == {"level": 81.0, "status": "charging", "powered_by": ["USB"]}
    assert found["emulated"] is None
    assert found["measurable"]["temperature"] is True, "the service tells what the zones do not"
    assert found["measurable"]["headroom"] is True
    assert found["measurable"]["governor"] == "only root may set it"
    assert found["measurable"]["battery"] is True


def test_a_board_is_known_by_its_device_tree():
    found = parsed(
        "machine=aarch64\nkernel=Linux 6.6\ndevice_tree=Raspberry Pi 5 Model B Rev 1.0 \nmemory_kb=8000000\nos=Debian 12\ncore=0 2400000\n"
        "can.vcgencmd=yes\ncan.power_supply=absent\nhypervisor=no\npart=4 0xd0b\n"
    )
    assert (found["model"], found["soc"]) == ("Raspberry Pi 5 Model B Rev 1.0", "4 x Cortex-A76")
    assert found["battery"]["unavailable"] == "it has no battery"
    assert found["measurable"]["throttling bits"] is True
    assert found["measurable"]["battery"] == "it has no battery"
    assert "no cpufreq" in found["measurable"]["frequency"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("ro.kernel.qemu=1", "an Android emulator"),
        ("ro.hardware=ranchu", "an Android emulator"),
        ("qemu=fw_cfg", "QEMU"),
        ("machine=x86_64", "says arm64-v8a, and its kernel runs on x86_64"),
    ],
)
def test_what_is_emulated_is_reported(line, reason):
    key = line.split("=")[0]
    text = "\n".join(one for one in _PHONE.splitlines() if not one.startswith(f"{key}=")) + f"\n{line}\n"
    assert reason in parsed(text)["emulated"]


def test_nothing_reported_is_unavailable_not_made_up():
    found = parsed("")
    assert {key for key in ("model", "soc", "memory_bytes", "os", "abi", "governor") if "unavailable" in found[key]} == {
        "model", "soc", "memory_bytes", "os", "abi", "governor"
    }  # fmt: skip


def test_the_script_runs_here():
    found = facts.read(LocalDevice())
    assert (found.spec, bool(found.machine)) == ("local", True)
    assert found.memory_bytes > 2**28
    assert found.cores


def test_a_fleet_gives_names_and_tags(tmp_path, monkeypatch):
    monkeypatch.setattr(fleet, "attached", lambda: [{"serial": "A", "state": "device"}, {"serial": "B", "state": "offline"}])
    path = tmp_path / "fleet.yaml"
    path.write_text("devices:\n  desk: {device: 'adb:A', tags: [phone]}\n  pi5: {device: 'ssh:pi@pi5', tags: [board, slow]}\n")
    assert fleet.resolve(["desk", "board", "adb:A"], path) == ["adb:A", "ssh:pi@pi5"]
    assert fleet.resolve(["all"], path) == ["adb:A", "ssh:pi@pi5"]
    monkeypatch.chdir(tmp_path.parent)
    assert fleet.resolve(["all"]) == ["adb:A"]
    with pytest.raises(UserError, match=r"found device 'pi6', expected .*desk.*\(did you mean 'pi5'"):
        fleet.resolve(["pi6"], path)


def test_all_mistakes_of_a_fleet_are_reported(tmp_path):
    path = tmp_path / "fleet.yaml"
    path.write_text("devices:\n  desk: {device: 'adb:A', tag: [phone]}\n  pi5: {tags: [board]}\n")
    with pytest.raises(UserError) as caught:
        fleet.resolve(["all"], path)
    assert "fleet.yaml:2" in str(caught.value)
    assert "fleet.yaml:3" in str(caught.value)
    path.write_text("devices:\n  desk: {device: 'usb:A'}\n")
    with pytest.raises(UserError, match="usb:A"):
        fleet.resolve(["desk"], path)


def test_a_device_is_one_session_s(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with locked(LocalDevice()), pytest.raises(UserError, match="local is in use by another edgedistill"), locked(LocalDevice()):
        pass
    with locked(LocalDevice()):
        pass


class _Flaky(LocalDevice):
    def __init__(self):
        self.reconnected = 0

    def reconnect(self):
        self.reconnected += 1


def test_a_link_that_comes_back_is_waited_for():
    device, tries = _Flaky(), iter([LinkLost("gone"), LinkLost("gone"), None])

    def action():
        if (error := next(tries)) is not None:
            raise error
        return "done"

    assert patiently(device, 30, action) == "done"
    assert device.reconnected == 2


def test_a_link_that_stays_away_is_an_error():
    def action():
        raise LinkLost("gone")

    with pytest.raises(LinkLost, match="gone; it did not come back within 0 s"):
        patiently(_Flaky(), 0, action)
