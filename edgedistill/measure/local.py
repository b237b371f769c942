"""Run the runner in a child process on this machine, one runtime a process."""

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from edgedistill.errors import DeviceFailed
from edgedistill.files import write_json
from edgedistill.measure.records import Execution, find_error, parse, read_lines, to_execution


def execute(
    adapter: str,
    artifact: Path,
    inputs: Path,
    *,
    outputs: Path | None,
    threads: int,
    bench: dict[str, Any] | None,
    log: Path,
    timeout_s: float,
    python: str = sys.executable,
) -> Execution:
    """Run `artifact` through `adapter` (a module path) in a child process, and return what was measured.

    inputs: .npy with float32 [N, C, H, W] or uint8 [N, H, W, C], as the artifact takes them.
    outputs: where to write float32 [N, classes], each input run at batch 1, or None.
    bench: None, or {"warmup_s", "max_s", "min_samples", "relative_width"}; see docs/measuring.md. log: the child's stdout and stderr
    are appended to it. Raises DeviceFailed, naming artifact, cause, last line of the log and the log, when the child crashed, was stopped
    after timeout_s, reported an error, or left no matching `end` record.
    """
    nonce = secrets.token_hex(16)
    log.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".runner-", dir=log.parent.resolve()) as folder:
        job, out = Path(folder, "job.json"), Path(folder, "out.jsonl")
        write_json(
            job,
            {
                "schema": 1,
                "nonce": nonce,
                "adapter": adapter,
                "artifact": str(artifact.resolve()),
                "threads": threads,
                "inputs": str(inputs.resolve()),
                "outputs": None if outputs is None else str(outputs.resolve()),
                "bench": bench,
            },
        )
        if outputs is not None:
            outputs.parent.mkdir(parents=True, exist_ok=True)
        command = [python, "-m", "edgedistill.measure.runner", "--job", str(job), "--out", str(out)]
        with open(log, "ab") as handle:
            handle.write(f"{json.dumps(command)} for {artifact}\n".encode())
            handle.flush()
            start = handle.tell()
            code = _wait(command, handle.fileno(), timeout_s)
        data = out.read_bytes() if out.exists() else b""
    try:
        if code is None:
            raise DeviceFailed(f"the runner was stopped, since it had not finished after {timeout_s:g} s")
        if code < 0:
            raise DeviceFailed(f"the runner was killed by {_signal_name(-code)}")
        records = parse(data, nonce)
        if code != 0:
            raise DeviceFailed(f"the runner ended with exit status {code} after a complete run")
        return to_execution(records, outputs)
    except DeviceFailed as failure:
        last_line = _last_line(log, start)
        if error := find_error(read_lines(data)):
            with open(log, "a") as text:
                text.write(error["traceback"])
        raise DeviceFailed(f"{artifact} did not run with {adapter}: {failure}{last_line}. The log is {log}") from failure


def _wait(command: list[str], log: int, timeout_s: float) -> int | None:
    """Exit status of `command`, or None after `timeout_s`; its process group is gone when this returns, however it returns."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    try:
        return child.wait(timeout_s)
    except subprocess.TimeoutExpired:
        return None
    finally:
        # Its own session makes the child's id that of its group, and the group holds nothing that this function did not start.
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _last_line(log: Path, start: int) -> str:
    """The last line that the child wrote, or nothing."""
    with open(log, "rb") as handle:
        handle.seek(start)
        lines = handle.read().decode(errors="replace").split("\n")
    line = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f" (last line of its log: {line[-300:]})" if line else ""
