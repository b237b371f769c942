"""Runs a benchmark program of the user under the conditions of a job. Its output becomes a record."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter_ns, sleep

from edgedistill.measure.runner.facts import high_water_bytes
from edgedistill.measure.runner.job_types import ProgramJob
from edgedistill.measure.runner.records import Recorder

MODEL = "{model}"
"""Placeholder in the arguments for the model's path, which depends on the device."""

_LOOK_S = 0.1
_LONGEST_TEXT = 8 * 2**20


def versions() -> dict[str, str]:
    """Empty: this module is its own adapter and has no runtime package."""
    return {}


def run(job: ProgramJob, recorder: Recorder, latest: Callable[[], Mapping[str, float]] = dict) -> None:
    """Run `job["program"]` on `job["artifact"]` and write a `program` record: command, text, ns, peak_rss (bytes or null).

    The program gets its own folder with its libraries under their names. Raises RuntimeError if its exit status is not 0.
    """
    program = job["program"]
    binary = program["binary"]["artifact"]
    command = [binary, *(argument.replace(MODEL, job["artifact"]) for argument in program["arguments"])]
    if not os.access(binary, os.X_OK):
        os.chmod(binary, 0o755)
    beside = os.path.dirname(binary)
    with tempfile.TemporaryDirectory(prefix="program-", dir=beside if os.access(beside, os.W_OK) else None) as folder:
        for name, library in program["libraries"].items():
            os.symlink(library["artifact"], os.path.join(folder, name))
        paths = [folder, beside, *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
        output = Path(folder, "output.txt")
        with open(output, "wb") as handle:
            started = perf_counter_ns()
            process = subprocess.Popen(
                command, cwd=folder, env={**os.environ, "LD_LIBRARY_PATH": ":".join(paths)}, stdin=subprocess.DEVNULL, stdout=handle,
                stderr=handle,
            )  # fmt: skip
            try:
                peak = _follow(process)
            finally:
                process.kill()
                process.wait()
            elapsed = perf_counter_ns() - started
        text = output.read_bytes()[-_LONGEST_TEXT:].decode(errors="replace") + _android_log(process.pid)
    if process.returncode != 0:
        last = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it printed nothing")
        raise RuntimeError(f"{os.path.basename(binary)} ended with exit status {process.returncode}: {last[-300:]}")
    recorder.write("program", command=command, text=text, ns=elapsed, peak_rss=peak)


def _follow(process: subprocess.Popen[bytes]) -> int | None:
    """Wait until `process` ends; returns the largest resident memory that was observed, in bytes."""
    peak = None
    while process.poll() is None:
        peak = high_water_bytes(process.pid) or peak
        sleep(_LOOK_S)
    return peak


def _android_log(pid: int) -> str:
    """The lines of the process in Android's log, where runtimes write their messages; empty elsewhere."""
    if shutil.which("logcat") is None:
        return ""
    process = subprocess.run(["logcat", "-d", "-v", "raw", f"--pid={pid}"], capture_output=True, check=False, timeout=30)
    return "\n" + process.stdout.decode(errors="replace")
