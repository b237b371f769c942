"""The load of a stress test: paces, instances that die, limits, and that no process outlives it, however it ends."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import CLASSIFIER

from edgedistill.measure.job import described_method
from edgedistill.measure.runner import guard, stress_load
from edgedistill.measure.runner.pace import pace
from edgedistill.measure.runner.records import Recorder

SETTINGS = {
    "seconds": 0.8,
    "mode": "continuous",
    "rate_hz": None,
    "burst_s": None,
    "pause_s": None,
    "instances": 1,
    "limit_c": None,
    "min_battery": None,
}
GOOD = "time.sleep(0.004)\nreturn np.full((1, 2), image.mean(), np.float32)"


@pytest.fixture
def job(tmp_path, monkeypatch):
    """A job whose adapter runs `body` as its run(image) to logits; `settings` replace those of a continuous load of 0.8 s."""

    def make(body=GOOD, **settings):
        source = (
            "import os, signal, sys, time\nimport numpy as np\ncalls = 0\n"
            f"open(os.path.join({str(tmp_path)!r}, f'pid{{os.getpid()}}'), 'w').close()\n"
            "def prepare(threads):\n    print('chatter on stdout')\n"
            "def load(path, threads, signature):\n    def run(image):\n        global calls\n        calls += 1\n"
            f"{textwrap.indent(textwrap.dedent(body), ' ' * 8)}\n"
            "    return lambda arrays: {'logits': run(arrays['image'])}\n"
        )
        (tmp_path / "fake_load_runtime.py").write_text(source)
        monkeypatch.syspath_prepend(str(tmp_path))
        sys.modules.pop("fake_load_runtime", None)
        np.save(tmp_path / "inputs.npy", np.arange(3, dtype=np.float32).reshape(3, 1, 1, 1))
        return {
            "adapter": "fake_load_runtime",
            "artifact": "some.model",
            "threads": 1,
            "signature": described_method(CLASSIFIER),
            "inputs": {"image": str(tmp_path / "inputs.npy")},
            "stress": SETTINGS | settings,
        }

    return make


def run(job, latest=dict, error=None):
    """The records of a load, by type; with `error`, of one that must fail so."""
    handle = io.BytesIO()
    if error is None:
        stress_load.run(job, Recorder(handle), latest)
    else:
        with pytest.raises(RuntimeError, match=error):
            stress_load.run(job, Recorder(handle), latest)
    found = {}
    for line in handle.getvalue().splitlines():
        record = json.loads(line)
        found.setdefault(record["type"], []).append(record)
    return found


def alive(pid):
    try:
        return "Z" not in re.search(r"\) (\S)", Path(f"/proc/{pid}/stat").read_text())[1]
    except FileNotFoundError:
        return False


def starts(record):
    waited = record["waited_ns"] or [0] * len(record["durations_ns"])
    return record["t0_ns"] + np.cumsum([0, *record["durations_ns"][:-1]]) + np.cumsum(waited)


def pids(tmp_path):
    return [int(path.name[3:]) for path in tmp_path.glob("pid*") if int(path.name[3:]) != os.getpid()]


def test_instances_run_back_to_back_and_send_batches(job, tmp_path):
    found = run(job(instances=2))
    assert [r["index"] for r in sorted(found["instance_ready"], key=lambda r: r["index"])] == [0, 1]
    begin = found["stress_start"][0]
    assert sorted(begin["instances"]) == [0, 1]
    for index in (0, 1):
        batches = [r for r in found["instance"] if r["index"] == index]
        assert len(batches) in (2, 3)
        spans = [sum(r["durations_ns"]) / 1e9 for r in batches]
        assert all(0.3 < span < 0.9 for span in spans[:-1])
        assert 0.5 < sum(spans) < 1.0
        assert min(min(r["durations_ns"]) for r in batches) >= 4_000_000
        assert all(r["waited_ns"] is None and r["late_ns"] is None and r["rss_bytes"] > 2**20 for r in batches)
        # Every third inference is of input 0, whose output is compared.
        count = sum(len(r["durations_ns"]) for r in batches)
        assert sum(r["checked"] for r in batches) == -(-count // 3)
        assert sum(r["changed"] for r in batches) == 0
    assert found["stress_end"][0]["ended"] == "time"
    assert found["stress_end"][0]["unguarded"] == []
    assert len(pids(tmp_path)) == 2
    assert not any(map(alive, pids(tmp_path)))


def test_a_rate_is_kept_and_lateness_is_recorded(job):
    batches = run(job(mode="rate", rate_hz=40))["instance"]
    begun = np.concatenate([starts(r) for r in batches])
    late = np.concatenate([r["late_ns"] for r in batches])
    assert 20 <= len(begun) <= 32
    np.testing.assert_allclose(np.diff(begun - late), 25_000_000, atol=2)
    assert late.min() >= 0
    assert late.min() < 25_000_000


def test_an_open_loop_does_not_slip(job):
    # One inference of 0.3 s makes those that were due meanwhile late; then the load catches up and is on time again.
    batches = run(job(f"if calls == 8:\n    time.sleep(0.3)\n{GOOD}", mode="rate", rate_hz=50))["instance"]
    late = np.concatenate([r["late_ns"] for r in batches]) / 1e9
    assert len(late) > 25
    assert late.max() > 0.2
    assert late[-10:].min() < late.max() - 0.1


def test_an_overloaded_rate_ends_in_time(job):
    started = time.monotonic()
    batches = run(job(mode="rate", rate_hz=2000))["instance"]
    assert time.monotonic() - started < 20
    assert sum(sum(r["durations_ns"]) for r in batches) < 1.1e9
    assert batches[-1]["late_ns"][-1] > 0.4e9


def test_bursts_run_and_pause(job):
    found = run(job(mode="bursts", burst_s=0.15, pause_s=0.15))
    batches = found["instance"]
    begun = np.concatenate([starts(r) for r in batches])
    phase = (begun - found["stress_start"][0]["t0_ns"]) / 1e9 % 0.3
    assert np.ptp(begun) > 0.35e9
    assert (phase < 0.155).mean() > 0.9
    waits = np.concatenate([r["waited_ns"] for r in batches])
    assert 1 <= (waits > 0.1e9).sum() <= 2


def test_a_changed_output_is_counted(job):
    batches = run(job(f"if calls > 20:\n    image = image + 1\n{GOOD}", seconds=0.4))["instance"]
    # Input 0 is run in calls 2, 5, ... 20 as it was in call 1, which is the one that all are held to.
    assert sum(r["checked"] - r["changed"] for r in batches) == 7
    assert sum(r["changed"] for r in batches) >= 3


def test_an_instance_that_dies_is_recorded_and_the_others_go_on(job):
    # The first to create the file dies.
    body = (
        "if calls == 30:\n"
        "    try:\n        os.close(os.open(path + '.lock', os.O_CREAT | os.O_EXCL))\n"
        "    except FileExistsError:\n        pass\n"
        "    else:\n        print('last words', file=sys.stderr, flush=True)\n        os.kill(os.getpid(), 9)\n" + GOOD
    )
    made = job(body, instances=2)
    made["artifact"] = str(Path(made["inputs"]["image"]).with_name("some.model"))
    found = run(made)
    (died,) = found["instance_died"]
    assert (died["signal"], died["exit"], died["last_line"]) == ("SIGKILL", None, "last words")
    other = 1 - died["index"]
    assert sum(sum(r["durations_ns"]) for r in found["instance"] if r["index"] == other) > 0.6e9
    assert found["stress_end"][0]["ended"] == "time"


def test_it_is_an_error_when_all_die(job, tmp_path):
    found = run(job("if calls > 20:\n    raise OSError('no memory left')\n" + GOOD, instances=2), error="all 2 .*OSError: no memory left")
    assert {(r["exit"], r["signal"]) for r in found["instance_died"]} == {(1, None)}
    assert found["stress_end"][0]["ended"] == "died"
    found = run(job("return np.full((1, 2), np.nan, np.float32)"), error="all 1 .*NaN or infinite")
    assert found["stress_start"][0]["instances"] == []
    assert not any(map(alive, pids(tmp_path)))


@pytest.mark.parametrize(
    ("limit", "values", "reason", "sensor"),
    [
        ({"limit_c": 80}, {"temperature.cpu": 81.0, "temperature.gpu": 70.0}, "temperature", "temperature.cpu"),
        ({"min_battery": 20}, {"battery.level": 19.0}, "battery level", "battery.level"),
    ],
)
def test_it_stops_at_a_limit(job, limit, values, reason, sensor):
    began = time.monotonic()
    found = run(job(seconds=20, **limit), latest=lambda: values if time.monotonic() - began > 0.9 else {})
    assert time.monotonic() - began < 15
    (record,) = found["aborted"]
    assert (record["reason"], record["sensor"], record["limit"]) == (reason, sensor, next(iter(limit.values())))
    assert found["stress_end"][0]["ended"] == "aborted"
    assert "instance_died" not in found
    assert found["instance"]


def test_limits_that_no_sensor_tells_about_are_named(job):
    found = run(job(seconds=0.4, limit_c=80, min_battery=20), latest=lambda: {"temperature.cpu": 80.0})
    assert found["stress_end"][0]["unguarded"] == ["min_battery"]
    assert guard.crossed({"min_battery": 20}, guard.watched({"battery.level": 20})) is None
    assert (
        guard.crossed({"limit_c": 40}, guard.watched({"battery.temperature": 41.0, "temperature.x": 30}))["sensor"] == "battery.temperature"
    )


def test_an_instance_that_hangs_is_killed(job, monkeypatch):
    monkeypatch.setattr(stress_load, "_OVERTIME_S", 0.3)
    found = run(job("if calls == 20:\n    time.sleep(60)\n" + GOOD, seconds=0.3), error="all 1 instances died")
    assert found["instance_died"][0]["signal"] == "SIGKILL"


def test_a_stopped_instance_is_killed_when_the_load_fails(job, tmp_path, monkeypatch):
    monkeypatch.setattr(stress_load, "_GRACE_S", 0.3)

    def latest():
        if (tmp_path / "stopped").exists():
            raise ValueError("the sensors failed")
        return {}

    body = f"if calls == 20:\n    open(os.path.join({str(tmp_path)!r}, 'stopped'), 'w').close()\n    os.kill(os.getpid(), signal.SIGSTOP)\n"
    with pytest.raises(ValueError, match="the sensors failed"):
        stress_load.run(job(body + GOOD, seconds=30), Recorder(io.BytesIO()), latest)
    assert not any(map(alive, pids(tmp_path)))


@pytest.mark.parametrize("body", [GOOD, f"if calls == 150:\n    time.sleep(60)\n{GOOD}"], ids=["working", "hanging"])
def test_no_instance_outlives_a_runner_that_was_killed(job, tmp_path, body):
    made = job(body, seconds=60, instances=2)
    script = (
        "import io, json, sys\nsys.path[:] = json.loads(sys.argv[2])\nfrom edgedistill.measure.runner import stress_load\n"
        "from edgedistill.measure.runner.records import Recorder\n"
        "stress_load.run(json.loads(sys.argv[1]), Recorder(sys.stdout.buffer), dict)"
    )
    command = [sys.executable, "-c", script, json.dumps(made), json.dumps(sys.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as runner:
        for line in runner.stdout:
            if json.loads(line)["type"] == "instance":
                break
        children = [pid for pid in pids(tmp_path) if pid != runner.pid]
        assert len(children) == 2
        assert all(map(alive, children))
        os.kill(runner.pid, signal.SIGKILL)
    for _ in range(80):
        if not any(map(alive, children)):
            return
        time.sleep(0.1)
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    pytest.fail("an instance outlived its runner")


def test_wrong_paces_are_named():
    with pytest.raises(ValueError, match="mode is 'wild', expected continuous, rate or bursts"):
        pace("wild")
    with pytest.raises(ValueError, match="rate_hz is None, but mode rate needs a number above 0"):
        pace("rate")
    with pytest.raises(ValueError, match="pause_s is 0, but mode bursts"):
        pace("bursts", burst_s=1, pause_s=0)
