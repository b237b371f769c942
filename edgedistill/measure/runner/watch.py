"""Watching the sensors while something is measured: the sampling process, and a thread that copies its records."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from edgedistill.measure.runner.records import Recorder

# Python itself takes a second or two to start on a small board, and each tool some time to answer.
_START_S = 30.0
_STOP_S = 10.0
_STALE_S = 15.0


class Watch:
    """The sensors of now, while `watching`."""

    def __init__(self) -> None:
        self._values: dict[str, tuple[int, float]] = {}
        self._seen = threading.Event()

    def latest(self) -> dict[str, float]:
        """The last value of each sensor, unless it is older than 15 s."""
        oldest = time.monotonic_ns() - round(_STALE_S * 1e9)
        return {name: value for name, (t_ns, value) in list(self._values.items()) if t_ns >= oldest}

    def _take(self, t_ns: int, values: Mapping[str, float]) -> None:
        self._values.update({name: (t_ns, value) for name, value in values.items()})
        self._seen.set()


@contextmanager
def watching(recorder: Recorder, interval_s: float | None, options: Mapping[str, Any] | None = None) -> Iterator[Watch]:
    """Sample this process's and its machine's sensors every `interval_s` seconds into `recorder`, until the block ends.

    interval_s: None samples nothing. options: see `sensors.discover`. The first sweep is there when the block begins, so that starting
    the sampling process disturbs nothing in it. Sampling that fails is recorded as unavailable sensors with the reason, and never raises.
    """
    watch = Watch()
    if interval_s is None:
        yield watch
        return
    # The package's folder as working directory: -m finds it there, however this process found it.
    command = [sys.executable, "-m", "edgedistill.measure.runner.sampler", "--pid", str(os.getpid()), "--interval", str(interval_s)]
    try:
        sampler = subprocess.Popen(
            [*command, "--options", json.dumps(dict(options or {}))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=Path(__file__).parents[3],
        )
    except OSError as error:
        _record_failure(recorder, interval_s, f"the sampling process did not start: {error}")
        yield watch
        return
    copier = threading.Thread(target=_copy, args=(sampler, watch, recorder, interval_s), daemon=True)
    copier.start()
    try:
        watch._seen.wait(_START_S)
        yield watch
    finally:
        # Told by a byte as well as by closing: a forked child of this process would keep the pipe open.
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


def _copy(sampler: subprocess.Popen[bytes], watch: Watch, recorder: Recorder, interval_s: float) -> None:
    """Copy records until the sampling process ends; one that ends without its last record has failed."""
    assert sampler.stdout
    assert sampler.stderr
    kind = None
    for line in sampler.stdout:
        try:
            fields = json.loads(line)
        except ValueError:
            # Half a line, from a process that was killed.
            kind = None
            break
        kind = fields.pop("type")
        recorder.write(kind, **fields)
        if kind == "sensor":
            watch._take(fields["t_ns"], fields["values"])
    if kind != "sampling_cost":
        last = sampler.stderr.read().decode(errors="replace").strip().splitlines()[-1:]
        reason = f"the sampling process ended with exit status {sampler.wait()}{': ' + last[0] if last else ''}"
        _record_failure(recorder, interval_s, reason)
    watch._seen.set()


def _record_failure(recorder: Recorder, interval_s: float, reason: str) -> None:
    recorder.write("sensors", interval_s=interval_s, available=[], unavailable=[{"name": "sensors", "unit": "1", "reason": reason}])
