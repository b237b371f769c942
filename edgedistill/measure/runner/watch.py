"""Reads the sensors during a measurement: starts the sampling process and copies its records in a thread."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from edgedistill.measure.runner import bounded
from edgedistill.measure.runner.job_types import SensorOptions
from edgedistill.measure.runner.records import Recorder

# Python takes a second or two to start on a small board, and each tool takes some time to answer.
_START_S = 30.0
_STOP_S = 10.0
_STALE_S = 15.0


class _Values:
    """The latest values by name."""

    def __init__(self) -> None:
        self.seen = threading.Event()
        self._last: dict[str, tuple[int, float]] = {}

    def latest(self) -> dict[str, float]:
        oldest = time.monotonic_ns() - round(_STALE_S * 1e9)
        return {name: value for name, (t_ns, value) in list(self._last.items()) if t_ns >= oldest}

    def take(self, t_ns: int, values: Mapping[str, float]) -> None:
        self._last.update({name: (t_ns, value) for name, value in values.items()})
        self.seen.set()


@contextmanager
def watching(recorder: Recorder, interval_s: float, options: SensorOptions | None = None) -> Iterator[Callable[[], dict[str, float]]]:
    """Sample the sensors of this process and its machine every `interval_s` seconds into `recorder` until the block ends.

    The block gets a function that returns the latest value of each sensor by name, unless it is older than 15 s. options: see
    `sensors.discover`. The block begins after the first sweep, so that the start of the sampling process does not disturb it. If sampling
    fails, the sensors are recorded as unavailable with the reason; it never raises.
    """
    values = _Values()
    # The Python of a kit is a script, which the host passes on; sys.executable is only the program that the script starts.
    python = os.environ.get("EDGEDISTILL_PYTHON") or sys.executable
    command = [python, "-m", "edgedistill.measure.runner.sampler", "--pid", str(os.getpid()), "--interval", str(interval_s)]
    try:
        sampler = subprocess.Popen(
            [*command, "--options", json.dumps(dict(options or {}))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # -m finds the package in this folder, wherever this process imported it from.
            cwd=Path(__file__).parents[3],
        )
    except OSError as error:
        _record_failure(recorder, interval_s, f"the sampling process did not start: {error}")
        yield values.latest
        return
    copier = threading.Thread(target=_copy, args=(sampler, values, recorder, interval_s), daemon=True)
    copier.start()
    try:
        values.seen.wait(_START_S)
        yield values.latest
    finally:
        # Send a byte before closing: a forked child of this process would keep the pipe open.
        assert sampler.stdin
        with suppress(OSError), sampler.stdin as stdin:
            stdin.write(b"\n")
        copier.join(_STOP_S)
        with suppress(subprocess.TimeoutExpired):
            sampler.wait(1)
        if sampler.poll() is None:
            sampler.kill()
            sampler.wait()
        copier.join()


def _copy(sampler: subprocess.Popen[bytes], values: _Values, recorder: Recorder, interval_s: float) -> None:
    """Copy records until the sampling process ends. If its last record is missing, it has failed."""
    assert sampler.stdout
    assert sampler.stderr
    kind = None
    for line in bounded.pieces(sampler.stdout, bounded.LONGEST_LINE):
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError):
            # An incomplete line of a killed process, or one without end.
            kind = None
            sampler.kill()
            break
        kind = fields.pop("type")
        recorder.write(kind, **fields)
        if kind == "sensor":
            values.take(fields["t_ns"], fields["values"])
    if kind != "sampling_cost":
        last = sampler.stderr.read(bounded.LONGEST_LINE).decode(errors="replace").strip().splitlines()[-1:]
        reason = f"the sampling process ended with exit status {sampler.wait()}{': ' + last[0] if last else ''}"
        _record_failure(recorder, interval_s, reason)
    values.seen.set()


def _record_failure(recorder: Recorder, interval_s: float, reason: str) -> None:
    recorder.write("sensors", interval_s=interval_s, available=[], unavailable=[{"name": "sensors", "unit": "1", "reason": reason}])
