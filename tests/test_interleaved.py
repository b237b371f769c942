"""A and B taking turns in processes of their own: real processes, with runtimes that spin, print, die and hang."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import CLASSIFIER

from edgedistill.errors import DeviceFailed
from edgedistill.files import write_json
from edgedistill.measure import comparison, local
from edgedistill.measure.job import CompareJob, Side

SETTINGS = {"block_s": 0.01, "pairs": 3, "warmup_s": 0.0, "relative_width": 0.5, "max_s": 20, "min_rounds": 6, "seed": 3}
ADAPTER = """
import os, sys, time
import numpy as np
def versions():
    return {"spin": "1"}
def prepare(threads):
    print("runtimes print what they like")
def load(path, threads, signature):
    with open(path) as handle:
        seconds, body = handle.read().split("\\n", 1)
    with open(path + ".pids", "a") as handle:
        handle.write(f"{os.getpid()}\\n")
    calls = 0
    def forward(image):
        nonlocal calls
        calls += 1
        exec(body)
        end = time.perf_counter() + float(seconds)
        while time.perf_counter() < end:
            pass
        return image
    return forward
"""


@pytest.fixture
def interleaved(tmp_path, monkeypatch):
    """A job whose sides spin for the given seconds after running a body of Python."""
    (tmp_path / "spin.py").write_text(ADAPTER)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]))
    np.save(tmp_path / "inputs.npy", np.zeros((2, 1, 1, 1), np.float32))

    def make(a, b, **settings):
        for side, (seconds, body) in (("a", a), ("b", b)):
            (tmp_path / f"{side}.model").write_text(f"{seconds}\n{body}")
        sides = {side: Side("spin", tmp_path / f"{side}.model", CLASSIFIER, {"image": tmp_path / "inputs.npy"}) for side in ("a", "b")}
        return CompareJob(**sides, threads=1, compare=SETTINGS | settings)

    return make


@pytest.fixture
def run(tmp_path, interleaved):
    def run_job(a, b, **settings):
        return local.run(interleaved(a, b, **settings), log=tmp_path / "log.txt", timeout_s=60, reduce=list)

    return run_job


def test_sides_take_turns_in_new_processes(run, tmp_path):
    records = run((0.001, ""), (0.0013, ""))
    blocks = [record for record in records if record["type"] == "block"]
    assert [record["type"] for record in records[:2]] == ["start", "clock"]
    assert records[0]["versions"] == {"spin": "1"}
    for number in range(6):
        mine = [block for block in blocks if block["round"] == number]
        first = mine[0]["side"]
        other = "ab".replace(first, "")
        assert [block["side"] for block in mine] == [first, other, other, first, first, other]
    ends = [block["t0_ns"] + sum(block["durations_ns"]) for block in blocks]
    assert all(end <= block["t0_ns"] for end, block in zip(ends, blocks[1:], strict=False)), "never both at once"
    assert all(len(block["durations_ns"]) >= 3 for block in blocks)
    assert {block["side"] for block in blocks[::6]} == {"a", "b"}, "the side that goes first is drawn"
    pids = [pid for side in ("a", "b") for pid in (tmp_path / f"{side}.model.pids").read_text().split()]
    assert len(set(pids)) == 12, "each round has a new process for each side"
    kinds = [record["type"] for record in records if record.get("side") == "b" and record["round"] == 2]
    assert kinds == ["load", "first_inference", "warmup", *["block"] * 3]
    found = comparison.compare(records).model_dump(mode="json")
    assert found["ratio"]["value"] == pytest.approx(1.3, abs=0.1)
    assert found["verdict"] == "worse"
    assert found["stopped"] == "narrow"
    assert found["a"]["latency_ms"]["p50"] == pytest.approx(1.0, abs=0.1)


def test_it_ends_when_the_time_is_up(run):
    records = run((0.001, ""), (0.001, ""), relative_width=1e-6, max_s=0.5, min_rounds=2)
    (compared,) = [record for record in records if record["type"] == "compared"]
    assert compared["stopped"] == "time"
    assert compared["rounds"] >= 2


def test_a_side_that_dies_is_named_with_its_last_words(run, tmp_path):
    died = "if calls == 5:\n    print('cannot go on', file=sys.stderr)\n    os._exit(7)"
    with pytest.raises(DeviceFailed, match=r"side b \(.*b\.model\) ended with exit status 7: cannot go on"):
        run((0.001, ""), (0.001, died))
    assert "side b: cannot go on" in (tmp_path / "log.txt").read_text()


def test_a_side_that_raises_or_is_killed_is_named(run):
    with pytest.raises(DeviceFailed, match=r"side a .* ended with exit status 1: RuntimeError: no such operator"):
        run((0.001, "raise RuntimeError('no such operator')"), (0.001, ""))
    with pytest.raises(DeviceFailed, match=r"side b .* was killed by SIGKILL: runtimes print what they like"):
        run((0.001, ""), (0.001, "os.kill(os.getpid(), 9)"))


def test_no_side_outlives_a_runner_that_is_killed(interleaved, tmp_path):
    job = interleaved((0.001, ""), (0.001, ""), min_rounds=1000).placed(str, str)
    write_json(tmp_path / "job.json", job)
    command = [sys.executable, "-m", "edgedistill.measure.runner", "--job", tmp_path / "job.json", "--out", tmp_path / "out.jsonl"]
    runner = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    files = [tmp_path / "a.model.pids", tmp_path / "b.model.pids"]
    _wait_for(lambda: all(file.exists() and file.read_text() for file in files))
    runner.kill()
    runner.wait()
    _wait_for(lambda: not any(_alive(pid) for file in files for pid in file.read_text().split()))


def _alive(pid):
    try:
        return b"Z" not in Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2][:3]
    except FileNotFoundError:
        return False


def _wait_for(holds, seconds=10):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def test_a_side_that_waits_takes_no_processor(run, tmp_path):
    body = (
        "kept = sys.modules.setdefault('kept', {'wall': time.perf_counter(), 'cpu': time.process_time()})\n"
        "wall, cpu = time.perf_counter(), time.process_time()\n"
        "if wall - kept['wall'] > 0.1:\n    print('waited', cpu - kept['cpu'], file=sys.stderr)\n"
        "kept.update(wall=wall, cpu=cpu)\n"
    )
    run((0.04, ""), (0.001, body), pairs=2, block_s=0.001, min_rounds=2, max_s=0)
    waited = [float(line.split()[-1]) for line in (tmp_path / "log.txt").read_text().splitlines() if line.startswith("side b: waited")]
    assert len(waited) >= 2
    assert max(waited) < 0.05


def test_the_ratio_needs_as_many_rounds_as_its_interval(run):
    records = run((0.001, ""), (0.001, ""), min_rounds=1, max_s=0)
    found = comparison.compare(records).model_dump(mode="json")
    assert found["rounds"]["n"] == 1
    assert found["verdict"]["value"] is None
    assert "1 rounds are too few" in found["ratio"]["interval"]["unavailable"]
    assert found["ratio"]["value"] == pytest.approx(1, abs=0.2)
