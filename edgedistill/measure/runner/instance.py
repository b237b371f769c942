"""One instance of a load, in a process of its own: loads the model, tells that it is ready, and runs it until its time is up.

It talks to `stress_load` in JSON lines: stdin brings the job and the start, stdout takes the batches. It ends when stdin closes, so that
no instance outlives a runner that was killed.
"""

import gc
import importlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import BinaryIO

import numpy as np

from edgedistill.measure.runner.facts import resident_bytes
from edgedistill.measure.runner.job_types import StressJob, StressSettings
from edgedistill.measure.runner.pace import pace
from edgedistill.measure.runner.record_types import Batch, Ready
from edgedistill.measure.runner.samples import Arrays, Forward, Promised, Samples

Send = Callable[[Ready | Batch], None]

_BATCH_NS = 500_000_000
_GRACE_S = 2.0
_OVERTIME_S = 60


def main() -> int:
    """Serve one load; returns the exit status, and leaves a traceback on stderr when something went wrong."""
    # Runtimes print what they like: what they write to stdout goes to stderr, and the pipe to the runner stays clean.
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    job = json.loads(_line())
    try:
        _serve(job, pipe)
    except BrokenPipeError:
        # Nobody is left to tell.
        return 1
    return 0


def _serve(job: StressJob, pipe: BinaryIO) -> None:
    def send(message: Mapping[str, object]) -> None:
        pipe.write(json.dumps(message, allow_nan=False).encode() + b"\n")
        pipe.flush()

    settings = job["stress"]
    adapter = importlib.import_module(job["adapter"])
    adapter.prepare(job["threads"])
    samples, promised = Samples(job["inputs"], job["signature"]["inputs"]), Promised(job["signature"]["outputs"])
    started = time.monotonic_ns()
    forward = adapter.load(job["artifact"], job["threads"], job["signature"])
    loaded = time.monotonic_ns()
    first = forward(samples[0])
    ready = time.monotonic_ns()
    expected = {name: np.array(output) for name, output in promised.checked(first, 0).items()}
    send({"load_ns": loaded - started, "first_inference_ns": ready - loaded, "rss_bytes": resident_bytes(), "pid": os.getpid()})

    start = _line()
    if not start:
        return
    stop = threading.Event()
    threading.Thread(target=_watch, args=(stop,), daemon=True).start()
    # Even a runtime that hangs in native code, whose runner is gone as well, must not heat the device for ever: the kernel ends it.
    signal.alarm(int(settings["seconds"]) + _OVERTIME_S)
    _run(forward, samples, expected, settings, json.loads(start)["t0_ns"], stop, send)


def _run(
    forward: Forward,
    samples: Samples,
    expected: Arrays,
    settings: StressSettings,
    t0: int,
    stop: threading.Event,
    send: Send,
) -> None:
    """Run the samples in turn from `t0` on and send a batch about every 0.5 s; outputs of sample 0 that are not `expected` are counted."""
    due_after = pace(settings["mode"], settings["rate_hz"], settings["burst_s"], settings["pause_s"])
    clock = time.monotonic_ns
    waits, lates = settings["mode"] != "continuous", settings["mode"] == "rate"
    limit = round(settings["seconds"] * 1e9)
    # The collector runs between batches: with it an inference would include its pauses, without it cycles would look like a leak.
    gc.collect()
    gc.freeze()
    gc.disable()
    count, batch, ended = 0, _Batch(), t0
    stop.wait(max(0, t0 - clock()) / 1e9)
    while not stop.is_set():
        elapsed = clock() - t0
        due = due_after(count, elapsed)
        if batch.durations and (due - elapsed >= _BATCH_NS or elapsed + t0 - batch.t0 >= _BATCH_NS):
            send(batch.message(waits, lates))
            batch = _Batch()
            gc.collect()
        if max(due, elapsed) >= limit or (due > elapsed and stop.wait((due - elapsed) / 1e9)):
            break
        index = count % len(samples)
        sample = samples[index]
        started = clock()
        output = forward(sample)
        finished = clock()
        batch.add(started, finished - started, started - ended, started - t0 - due)
        if index == 0:
            batch.check(output, expected)
        count, ended = count + 1, finished
    if batch.durations:
        send(batch.message(waits, lates))


class _Batch:
    """Inferences in a row. The i-th began at t0_ns + sum(durations_ns[:i]) + sum(waited_ns[:i + 1])."""

    def __init__(self) -> None:
        self.t0, self.checked, self.changed = 0, 0, 0
        self.durations: list[int] = []
        self._waited: list[int] = []
        self._late: list[int] = []

    def add(self, started: int, duration: int, waited: int, late: int) -> None:
        if not self.durations:
            self.t0, waited = started, 0
        self.durations.append(duration)
        self._waited.append(waited)
        self._late.append(late)

    def check(self, output: Arrays, expected: Arrays) -> None:
        self.checked += 1
        self.changed += not all(np.array_equal(output[name], expected[name]) for name in expected)

    def message(self, waits: bool, lates: bool) -> Batch:
        return {
            "t0_ns": self.t0,
            "durations_ns": self.durations,
            "waited_ns": self._waited if waits else None,
            "late_ns": self._late if lates else None,
            "rss_bytes": resident_bytes(),
            "checked": self.checked,
            "changed": self.changed,
        }


def _line() -> bytes:
    """The next line of stdin, or nothing at its end; without Python's buffer, whose lock a thread would hold when the process exits."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            return b""
        line += byte
    return line


def _watch(stop: threading.Event) -> None:
    """Set `stop` when stdin closes, and end the process if it has not ended soon after: an inference may hang."""
    while os.read(0, 1):
        pass
    stop.set()
    time.sleep(_GRACE_S)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
