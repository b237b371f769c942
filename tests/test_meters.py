"""Power meters on the host, and the device's clock on the host's time line."""

import sys
import time
from importlib.metadata import EntryPoint

import numpy as np
import pytest

from edgedistill.errors import DeviceFailed, UserError
from edgedistill.measure import meters
from edgedistill.measure.clock import Exchange, align, ask, boottime_lead_s, clock_jumps
from edgedistill.measure.devices.base import Reply
from edgedistill.measure.meters import open_meter, power_series
from edgedistill.measure.meters.base import Samples

WRITER = """
import sys, time
zero = time.monotonic()
print("# seconds, watts", flush=True)
for index in range(1000):
    print(f"{5000 + time.monotonic() - zero:.6f},{2 + index % 2}", flush=True)
    time.sleep(0.01)
"""


def command(*body):
    return f'command:{sys.executable} -c "{"; ".join(body)}"'


def test_a_command_is_a_meter(tmp_path):
    (tmp_path / "writer.py").write_text(WRITER)
    meter = open_meter(f"command:{sys.executable} {tmp_path / 'writer.py'}")
    before = time.monotonic()
    meter.start()
    time.sleep(0.3)
    samples = meter.stop()
    assert len(samples.watts) > 10
    assert set(samples.watts) == {2.0, 3.0}
    assert before < samples.host_s[0] < samples.host_s[-1] < time.monotonic()
    assert np.diff(samples.host_s).min() > 0.009, "the command's own clock gives the distances"
    assert str(tmp_path) in samples.source


def test_watts_alone_are_of_when_they_arrive():
    meter = open_meter(command("import time", "[(print(i, flush=True), time.sleep(0.02)) for i in range(500)]"))
    before = time.monotonic()
    meter.start()
    time.sleep(0.1)
    samples = meter.stop()
    assert samples.watts.tolist() == list(range(len(samples.watts)))
    assert before < samples.host_s[0] < samples.host_s[-1] < time.monotonic()


@pytest.mark.parametrize(
    ("spec", "when", "said"),
    [
        (command("import sys", "sys.exit('no such port')"), "start", "gave no sample: no such port"),
        (command("print('volts 3')", "import time", "time.sleep(9)"), "start", "expected lines of watts or t,watts, found 'volts 3'"),
        (command("print('1,2', flush=True)", "print('1', flush=True)", "import time", "time.sleep(9)"), "stop", "found '1'"),
        (command("print('1,nan', flush=True)", "import time", "time.sleep(9)"), "start", "found '1,nan'"),
        (command("print(1, flush=True)"), "stop", "ended by itself with exit status 0"),
        ("command:/nowhere/meter", "start", "did not start: .*No such file"),
        ("monsoon:", "start", "pip install monsoon"),
    ],
)
def test_meters_that_fail_say_why(spec, when, said):
    meter = open_meter(spec)
    if when == "stop":
        meter.start()
        time.sleep(0.2)
    with pytest.raises(DeviceFailed, match=said):
        getattr(meter, when)()


@pytest.mark.parametrize(
    ("spec", "said"),
    [("wattson", "known are command, monsoon"), ("command:", "needs a command"), ("monsoon:x", "a serial number, as monsoon:60000")],
)
def test_meters_that_are_named_wrongly(spec, said):
    with pytest.raises(UserError, match=said):
        open_meter(spec)


def test_a_package_adds_a_meter_and_may_not_take_a_name(monkeypatch):
    ours = EntryPoint("bench", "tests.test_meters:Bench", meters.GROUP)
    monkeypatch.setattr(meters, "entry_points", lambda group: [ours] if group == "edgedistill.meters" else [])
    monkeypatch.setattr(EntryPoint, "load", lambda entry: lambda argument: (entry.name, argument))
    assert open_meter("bench:3:4") == ("bench", "3:4")
    taken = EntryPoint("command", "other_package:Meter", meters.GROUP)
    monkeypatch.setattr(meters, "entry_points", lambda group: [taken])
    with pytest.raises(
        UserError, match=r"'command': edgedistill.measure.meters.command:CommandMeter of edgedistill and other_package:Meter"
    ):
        open_meter("command:x")


class Clocks:
    """A device whose clock began 1000 s later than the host's and is fast by 50 ppm, and a link that takes a random time each way."""

    spec = "ssh:board"

    def __init__(self, monkeypatch, lost=0.0, link_s=0.05):
        self.now, self.lost, self.link_s = 5000.0, lost, link_s
        self.random = np.random.default_rng(0)
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def device_s(self, host_s):
        return (host_s - 1000) * (1 + 50e-6) - (self.lost if host_s > 5100 else 0)

    def sh(self, script):
        assert script == "cat /proc/uptime"
        self.now += self.random.exponential(self.link_s)
        uptime = self.device_s(self.now)
        self.now += self.random.exponential(self.link_s)
        return Reply(0, f"{np.floor(uptime * 100) / 100:.2f} 99.0\n", "")


@pytest.mark.parametrize("link_s", [0.05, 0.0002])
def test_clocks_are_aligned_within_the_error_that_is_reported(monkeypatch, link_s):
    clocks = Clocks(monkeypatch, link_s=link_s)
    before = ask(clocks)
    clocks.now += 600
    aligned = align(before + ask(clocks))
    host = np.linspace(5001, 5600, 50)
    device = np.array([clocks.device_s(t) for t in host])
    assert np.abs(aligned.to_device(host) - device).max() <= aligned.error_s < 0.05
    np.testing.assert_allclose(aligned.to_host(aligned.to_device(host)), host, atol=1e-9)
    assert aligned.drift == pytest.approx(-50e-6, abs=2 * aligned.error_s / 600)
    at_once = align(before)
    assert at_once.drift == 0
    assert abs(at_once.to_device(np.array([5000.2]))[0] - clocks.device_s(5000.2)) <= at_once.error_s


def test_a_device_that_was_started_anew_is_not_aligned(monkeypatch):
    clocks = Clocks(monkeypatch, lost=30)
    before = ask(clocks)
    clocks.now += 600
    with pytest.raises(ValueError, match="restarted or slept in between"):
        align(before + ask(clocks))
    with pytest.raises(ValueError, match="at least one"):
        align([])


def test_a_device_that_tells_no_uptime():
    class Dumb:
        spec = "adb:1"

        def sh(self, script):
            return Reply(1, "", "cat: /proc/uptime: Permission denied")

    with pytest.raises(DeviceFailed, match=r"adb:1 did not report its uptime: cat: .*denied"):
        ask(Dumb())


def test_jumps_of_the_wall_clock_are_reported_and_change_nothing():
    def clock(monotonic_s, wall_s, **more):
        return {"type": "clock", "monotonic_ns": round(monotonic_s * 1e9), "time_ns": round(wall_s * 1e9), **more}

    records = [clock(100, 1e9), {"type": "sensor"}, clock(160, 1e9 + 60.01), clock(220, 1e9 + 3720.01), clock(230, 1e9 + 3730)]
    (jump,) = clock_jumps(records)
    assert jump.model_dump() == {"after_s": 160, "before_s": 220, "jump_s": pytest.approx(3600)}
    assert clock_jumps(records[:1]) == []
    assert boottime_lead_s(records) == 0
    assert boottime_lead_s([clock(100, 1e9, boottime_ns=103_500_000_000)]) == 3.5


def test_samples_of_a_meter_become_a_series_on_the_devices_clock():
    aligned = align([Exchange(10.0, 110.0, 10.02)])
    one = power_series("wall", Samples(np.array([11.0, 12.0]), np.array([2.0, 3.0]), "meter"), aligned)
    assert (one.name, one.unit, one.values.tolist()) == ("power.meter.wall", "W", [2.0, 3.0])
    np.testing.assert_allclose(one.t_s, [110.99, 111.99])
    assert one.source == "meter, on the device's clock within 15 ms"
