"""Runs a benchmark program of the user under the conditions of a job. Its output becomes a record."""

import math
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter_ns

from edgedistill.measure.runner import bounded
from edgedistill.measure.runner.facts import high_water_bytes
from edgedistill.measure.runner.job_types import ProgramJob
from edgedistill.measure.runner.records import Recorder

MODEL = "{model}"
"""Placeholder in the arguments for the model's path, which depends on the device."""

_LONGEST_TEXT = 8 * 2**20


def versions() -> dict[str, str]:
    """Empty: this module is its own adapter and has no runtime package."""
    return {}


def run(job: ProgramJob, recorder: Recorder, latest: Callable[[], Mapping[str, float]] = dict) -> None:
    """Run `job["program"]` on `job["artifact"]` and write a `program` record: command, text, ns, peak_rss (bytes or null).

    The program gets its own folder with its libraries under their names. Raises RuntimeError if its exit status is not 0, and
    TooMuchOutput if it prints more than `bounded.LOG_LIMIT`.
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
            peak = _follow(process, output)
            elapsed = perf_counter_ns() - started
        text = bounded.tail(output, _LONGEST_TEXT) + _android_log(process.pid)
    if process.returncode != 0:
        last = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it printed nothing")
        raise RuntimeError(f"{os.path.basename(binary)} ended with exit status {process.returncode}: {last[-300:]}")
    recorder.write("program", command=command, text=text, ns=elapsed, peak_rss=peak)


def _follow(process: subprocess.Popen[bytes], output: Path) -> int | None:
    """Wait until `process` ends; returns the largest resident memory that was observed, in bytes."""
    peak = None

    def look() -> None:
        nonlocal peak
        peak = high_water_bytes(process.pid) or peak

    # The host ends a program that takes too long, together with this process.
    bounded.follow(process, timeout_s=math.inf, files={output: bounded.LOG_LIMIT}, look=look)
    return peak


def _android_log(pid: int) -> str:
    """The lines of the process in Android's log, where runtimes write their messages; empty elsewhere."""
    if shutil.which("logcat") is None:
        return ""
    try:
        return "\n" + bounded.run(["logcat", "-d", "-v", "raw", f"--pid={pid}"], timeout_s=30).stdout[-_LONGEST_TEXT:]
    except subprocess.SubprocessError:
        return ""
