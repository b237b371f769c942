"""Whatever prints without end is stopped: memory and disk stay bounded, the process is gone, and one sentence says what happened."""

import json
import os
import shlex
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from edgedistill import child
from edgedistill.errors import DeviceFailed
from edgedistill.export import lower as lowering
from edgedistill.measure import local, remote
from edgedistill.measure.devices import open_device
from edgedistill.measure.devices.base import Reply
from edgedistill.measure.devices.commands import call
from edgedistill.measure.job import ProgramJob
from edgedistill.measure.meters import command as meters
from edgedistill.measure.runner import bounded
from edgedistill.measure.runner.sensors.base import run_tool
from edgedistill.records import ArtifactSpec

MARK = f"flood-{os.getpid()}"
"""A word that only processes of these tests print."""
FLOOD = f"yes {MARK}"
# Processes that test side by side have other marks, and need the same names of tests.
_KINDS = ["output", "errors", "in the background", "one line"]


def left() -> int:
    return len(subprocess.run(["pgrep", "-f", f"^yes {MARK}"], capture_output=True).stdout.split())


@pytest.fixture(autouse=True)
def promptly():
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < 30
    for _ in range(20):
        if not left():
            break
        time.sleep(0.1)
    assert not left(), "a process that printed without end is still there"


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("flood", [FLOOD, f"{FLOOD} >&2", f"{FLOOD} & exec sleep 20", f"{FLOOD} | tr -d '\\n'"], ids=_KINDS)
def test_a_transport_that_prints_without_end_is_stopped(flood):
    with pytest.raises(DeviceFailed, match=r"`sh` was stopped, since it printed more than 32 MiB"):
        call(["sh", "-c", flood], timeout_s=60)


def test_bench_keeps_its_memory_on_a_phone_that_prints_without_end(tmp_path):
    script(tmp_path / "adb", FLOOD)
    from onnx import TensorProto, helper, save

    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "graph", ports[:1], ports[1:])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "model.onnx")
    code = textwrap.dedent("""
        import sys
        from pathlib import Path
        from edgedistill.cli.app import app
        sys.argv = ["edgedistill", "bench", "model.onnx", "--device", "adb:X", "--json"]
        try:
            app(prog_name="edgedistill", standalone_mode=False)
        finally:
            # ru_maxrss would hold what the process took that started this one.
            status = Path("/proc/self/status").read_text().splitlines()
            print(next(line.split()[1] for line in status if line.startswith("VmHWM:")), file=sys.stderr)
    """)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 4, done.stderr
    assert "it printed more than 32 MiB" in json.loads(done.stdout)["error"]["message"]
    assert "Traceback" not in done.stderr
    assert int(done.stderr.split()[-1]) < 500 * 1024, "peak memory in KiB"


@pytest.mark.parametrize("size", ["999999999999", "many", "12"])
def test_a_file_that_has_no_end_is_not_pulled(size, tmp_path, monkeypatch):
    """The board answers what it is asked, and sends bytes without end where a file is wanted."""
    answers = f"""case "$*" in *cat*) {FLOOD};; esac
    text=$(cat); word=$(printf '%s' "$text" | grep -o 'edgedistill-[0-9a-f]*' | head -1)
    printf 'digest\\n{size}\\n\\n%s:0\\n' "$word" """
    script(tmp_path / "ssh", answers)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    told = "was stopped, since it printed more than 12 bytes" if size == "12" else "bytes, expected at most 4 GiB"
    with pytest.raises(DeviceFailed, match=told):
        open_device("ssh:board").pull("/tmp/outputs.npy", tmp_path / "outputs.npy")
    assert not list(tmp_path.glob("*.part"))


def test_a_child_that_prints_without_end_is_stopped(tmp_path, monkeypatch):
    (tmp_path / "endless.py").write_text("while True: print('x' * 10_000)")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    with pytest.raises(DeviceFailed, match=r"looking failed: .*printed more than 32 MiB"):
        child.ask("endless", failed="looking failed")


def test_a_child_that_answers_nothing_is_told(tmp_path, monkeypatch):
    (tmp_path / "silent.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    with pytest.raises(DeviceFailed, match="looking failed: it gave no answer"):
        child.ask("silent", failed="looking failed")


JOB = ProgramJob(adapter="none", artifact=Path("model"), binary="/bin/true", arguments=[], libraries={}, conditions=None)


def test_a_runner_that_fills_its_log_or_its_records_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(bounded, "LOG_LIMIT", 1 << 20)
    monkeypatch.setattr(local, "RECORDS_LIMIT", 1 << 20)
    records = tmp_path / "records.jsonl"
    for where in ("", f">{shlex.quote(str(records))}"):
        python = script(tmp_path / "python", f"{FLOOD} {where}")
        with pytest.raises(DeviceFailed, match=r"`python` was stopped, since it printed more than 1 MiB") as told:
            local.run(JOB, log=tmp_path / "log.txt", timeout_s=60, reduce=list, records=records, python=str(python))
        assert len(str(told.value)) < 2000


def test_a_converter_that_prints_without_end_is_stopped_and_told(tmp_path, monkeypatch):
    monkeypatch.setattr(bounded, "LOG_LIMIT", 1 << 20)
    monkeypatch.setattr(sys, "executable", str(script(tmp_path / "python", FLOOD)))
    lowered = lowering.lower([ArtifactSpec("onnx", "fp32")], tmp_path, tmp_path, tmp_path / "log.txt", {})
    assert "printed more than 1 MiB" in lowered.not_lowered[0].reason


def test_a_tool_of_a_sensor_that_prints_without_end_is_a_missing_sensor(tmp_path, monkeypatch):
    with pytest.raises(OSError, match="printed more than 1 MiB"):
        run_tool(["sh", "-c", FLOOD])


def test_a_vendor_program_that_prints_without_end_is_stopped(tmp_path, monkeypatch):
    from edgedistill.measure.runner import program

    monkeypatch.setattr(bounded, "LOG_LIMIT", 1 << 20)
    binary = script(tmp_path / "benchmark", f"exec {FLOOD}")
    job = {"artifact": "model", "program": {"binary": {"artifact": str(binary)}, "arguments": [], "libraries": {}}}
    with pytest.raises(bounded.TooMuchOutput, match=r"`benchmark` was stopped, since it printed more than 1 MiB"):
        program.run(job, recorder=None)


@pytest.mark.parametrize(
    ("flood", "told"),
    [("yes 1.5", "more than 100 samples"), (f"{FLOOD} | tr -d '\\n'", "expected lines of watts"), (f"{FLOOD} >&2", "gave no sample")],
    ids=["samples", "one line", "errors"],
)
def test_a_meter_that_prints_without_end_is_stopped(flood, told, monkeypatch):
    monkeypatch.setattr(meters, "_MOST_SAMPLES", 100)
    monkeypatch.setattr(meters, "_FIRST_SAMPLE_S", 1.0)
    meter = meters.CommandMeter(f"sh -c {shlex.quote(flood if '|' in flood else f'exec {flood}')}")

    def measure() -> None:
        meter.start()
        time.sleep(1.0)
        meter.stop()

    with pytest.raises(DeviceFailed, match=told):
        measure()


class Endless:
    """A device whose runner writes records or its log without end."""

    spec, root = "adb:endless", "/tmp/edgedistill"

    def __init__(self, state: str, records: str) -> None:
        self.state, self.records, self.asked = state, records, 0

    def sh(self, script: str, *, timeout_s: float = 60) -> Reply:
        if "out.jsonl" in script and "tail" in script:
            self.asked += 1
            return Reply(0, f"boot\n{self.state}\n{self.records}", "")
        return Reply(0, "boot\n" if "/boot" in script else "", "")


@pytest.mark.parametrize(
    ("state", "records", "told"),
    [("runs", '{"type": "sensor"}\n' * 250_000, r"more than 16 MiB of records"), ("floods", "", r"it had printed more than 64 MiB")],
)
def test_a_device_whose_runner_writes_without_end_is_left(state, records, told, tmp_path, monkeypatch):
    from edgedistill.measure.session import Session

    monkeypatch.setattr(remote, "RECORDS_LIMIT", 16 << 20)
    monkeypatch.setattr(remote, "_STARTED_S", 1)
    device = Endless(state, records)
    kept = bytearray()
    with pytest.raises(DeviceFailed, match=told):
        remote._follow(Session(device, "python", "/runner"), "/job", kept, 60, tmp_path / "records.jsonl", None)
    assert len(kept) <= 1 << 20
    assert device.asked <= 5


def test_a_reply_that_is_as_long_as_allowed_arrives_whole():
    reply = call(["sh", "-c", f"head -c {32 << 20} /dev/zero | tr '\\0' x"], timeout_s=30)
    assert len(reply.out) == 32 << 20
