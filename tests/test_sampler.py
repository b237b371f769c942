"""The sampling process beside a run: its records, its end, its death, and that none of it reaches the run."""

import io
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

from edgedistill.measure.runner import sampler, watch
from edgedistill.measure.runner.records import Recorder
from edgedistill.measure.runner.sensors.base import Source
from edgedistill.measure.runner.watch import watching

PACKAGE = Path(sampler.__file__).parents[3]
COMMAND = [sys.executable, "-m", "edgedistill.measure.runner.sampler", "--interval", "0.05", "--pid"]


@pytest.fixture
def log():
    """A recorder, and a function that reads what was written."""
    handle = io.BytesIO()
    return Recorder(handle), lambda: [json.loads(line) for line in handle.getvalue().splitlines()]


def of_type(records, kind):
    return [record for record in records if record["type"] == kind]


def running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_run_is_watched(log):
    recorder, records = log
    before = time.monotonic_ns()
    with watching(recorder, 0.05) as seen:
        wait_until(lambda: len(of_type(records(), "sensor")) > 8)
        latest = seen()
    after = time.monotonic_ns()
    first, *rest = records()
    assert first["type"] == "sensors"
    assert first["interval_s"] == 0.05
    units = {entry["name"]: entry["unit"] for entry in first["available"]}
    assert units["memory.rss"] == "bytes"
    assert all(entry["reason"] for entry in first["unavailable"])
    sweeps = of_type(rest, "sensor")
    assert all(before < sweep["t_ns"] < after for sweep in sweeps)
    assert set().union(*(sweep["values"] for sweep in sweeps)) <= set(units)
    assert latest["memory.rss"] > 10e6
    cost = rest[-1]
    assert cost["type"] == "sampling_cost"
    assert cost["sweeps"] >= 7
    assert 0 < cost["cpu_ns"] < cost["span_ns"] < after - before
    assert 0 < cost["wall_ns"] < cost["span_ns"]


def test_memory_is_that_of_this_process(log):
    recorder, records = log
    with watching(recorder, 0.05):
        block = bytearray(os.urandom(1)) * 100_000_000
        began = time.monotonic_ns()
        wait_until(lambda: of_type(records(), "sensor")[-1]["t_ns"] > began)
        wait_until(lambda: "memory.rss" in of_type(records(), "sensor")[-1]["values"])
    values = [sweep["values"]["memory.rss"] for sweep in of_type(records(), "sensor") if "memory.rss" in sweep["values"]]
    assert values[-1] - values[0] > 0.9 * len(block)


def test_a_sampling_process_that_dies_is_recorded_and_harms_nothing(log):
    recorder, records = log
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    before = set(children.read_text().split())
    with watching(recorder, 0.05):
        (child,) = set(children.read_text().split()) - before
        os.kill(int(child), signal.SIGKILL)
        wait_until(lambda: len(of_type(records(), "sensors")) == 2)
        result = 42
    assert result == 42
    (entry,) = of_type(records(), "sensors")[1]["unavailable"]
    assert entry == {"name": "sensors", "unit": "1", "reason": "the sampling process ended with exit status -9"}
    assert not running(child)


def test_a_sampling_process_that_cannot_start_gives_the_last_line_of_its_error(log, monkeypatch):
    recorder, records = log
    monkeypatch.setattr(watch.sys, "executable", "/nowhere/python")
    with watching(recorder, 0.05):
        pass
    assert "No such file or directory: '/nowhere/python'" in records()[0]["unavailable"][0]["reason"]
    monkeypatch.undo()
    with watching(recorder, 0.05, {"ina": 5}):
        pass
    assert records()[-1]["unavailable"][0]["reason"] == (
        "the sampling process ended with exit status 1: TypeError: 'int' object is not iterable"
    )


def test_an_error_of_the_run_passes_and_the_sampling_ends(log):
    recorder, records = log
    with pytest.raises(ZeroDivisionError), watching(recorder, 0.05):
        1 / 0  # noqa: B018
    assert records()[-1]["type"] == "sampling_cost"


def test_it_ends_when_the_measured_process_is_killed(tmp_path):
    """Also when a forked child of that process holds the pipe open."""
    script = (
        "import os, sys, time\nfrom edgedistill.measure.runner.records import Recorder\n"
        "from edgedistill.measure.runner.watch import watching\n"
        f"with open({str(tmp_path / 'out')!r}, 'wb') as handle, watching(Recorder(handle), 0.05):\n"
        "    children = open(f'/proc/self/task/{os.getpid()}/children').read()\n"
        "    if os.fork() == 0:\n        time.sleep(30)\n        os._exit(0)\n"
        "    print(children, open(f'/proc/self/task/{os.getpid()}/children').read(), flush=True)\n    time.sleep(30)\n"
    )
    parent = subprocess.Popen([sys.executable, "-W", "ignore", "-c", script], cwd=PACKAGE, stdout=subprocess.PIPE, text=True)
    sampling, _, forked = (int(word) for word in parent.stdout.readline().split())
    try:
        assert running(sampling)
        parent.kill()
        parent.wait()
        wait_until(lambda: not running(sampling))
    finally:
        os.kill(forked, signal.SIGKILL)
        parent.stdout.close()


def test_it_ends_with_the_block_although_a_forked_child_holds_the_pipe(log):
    recorder, records = log
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with watching(recorder, 0.05):
            child = os.fork()
            if child == 0:
                time.sleep(30)
                os._exit(0)
            left = time.monotonic()
    took = time.monotonic() - left
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert took < 5
    assert records()[-1]["type"] == "sampling_cost"


def test_it_yields_to_the_measured_process():
    child = subprocess.Popen([*COMMAND, str(os.getpid())], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=PACKAGE)
    child.stdout.readline()
    assert os.getpriority(os.PRIO_PROCESS, child.pid) == min(os.getpriority(os.PRIO_PROCESS, 0) + 10, 19)
    out, _ = child.communicate()
    assert json.loads(out.splitlines()[-1])["type"] == "sampling_cost"
    assert child.returncode == 0


def test_slow_sources_have_their_own_interval_and_failing_ones_are_left_out(monkeypatch):
    clock, written = [100.0], []
    monkeypatch.setattr(sampler.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(sampler.time, "monotonic_ns", lambda: round(clock[0] * 1e9))

    def wait(timeout):
        clock[0] += max(0.0, timeout)
        return clock[0] > 106

    hung = []

    def fail(error):
        hung.append(isinstance(error, TimeoutError))
        raise error

    monkeypatch.setattr(sampler, "_asked_to_end", wait)
    monkeypatch.setattr(sampler, "_write", lambda kind, **fields: written.append((kind, fields)))
    sources = [
        Source({"fast": "1"}, "", lambda: {"fast": 1.0, "unannounced": 2.0}),
        Source({"broken": "1"}, "", lambda: fail(OSError("gone"))),
        Source({"slow": "1"}, "", lambda: {"slow": 1.0}, 2.0),
        Source({"hanging": "1"}, "", lambda: fail(TimeoutError("late")), 2.0),
    ]
    sampler._sample(sources, 0.5)
    sweeps = [(fields["t_ns"] / 1e9, list(fields["values"])) for kind, fields in written if kind == "sensor"]
    assert [t for t, names in sweeps if names == ["slow"]] == [100, 102, 104, 106]
    assert [t for t, names in sweeps if names == ["fast"]] == [100 + 0.5 * index for index in range(13)]
    assert len(sweeps) == 17
    assert sum(hung) == 1, "a tool that hangs is left alone for a while"
    assert written[-1][1]["sweeps"] == 13


def test_ticks_that_were_missed_are_left_out(monkeypatch):
    clock, written = [100.0], []
    monkeypatch.setattr(sampler.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(sampler.time, "monotonic_ns", lambda: round(clock[0] * 1e9))

    def wait(timeout):
        clock[0] += max(0.0, timeout)
        return clock[0] > 103

    def hang():
        clock[0] += 1.2 if clock[0] == 101 else 0.0
        return {"value": 1.0}

    monkeypatch.setattr(sampler, "_asked_to_end", wait)
    monkeypatch.setattr(sampler, "_write", lambda kind, **fields: written.append((kind, fields)))
    sampler._sample([Source({"value": "1"}, "", hang)], 0.5)
    stamps = [fields["t_ns"] / 1e9 for kind, fields in written if kind == "sensor"]
    assert stamps == [100, 100.5, 101.6, 102.5, 103]
