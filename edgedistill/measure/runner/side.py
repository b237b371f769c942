"""One side of an interleaved comparison, in a process of its own: it loads the model, and runs it for a moment whenever it is told to.

It reads one JSON object a line from stdin, first the job and then commands, and answers each with one on stdout. In between it waits
for the pipe and takes no processor. It ends when stdin closes, so that no side outlives a runner that was killed.
"""

import gc
import importlib
import json
import os
import sys
from collections.abc import Callable
from time import perf_counter_ns
from typing import Any

import numpy as np

from edgedistill.measure.runner.facts import resident_bytes
from edgedistill.measure.runner.sampling import timer, warm_up

# Of fewer, the median is hardly more than a single one.
_MIN_INFERENCES = 3


def main() -> int:
    """Serve one comparison; whatever goes wrong is a traceback on stderr and an exit status of 1."""
    # Runtimes print what they like: what they write to stdout goes to stderr, and the pipe to the runner stays clean.
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    answers = None
    for line in sys.stdin.buffer:
        message = json.loads(line)
        if answers is None:
            answers, found = _answers(message), {"pid": os.getpid()}
        else:
            found = answers[message.pop("do")](**message)
        pipe.write(json.dumps(found, allow_nan=False).encode() + b"\n")
        pipe.flush()
    return 0


def _answers(job: dict[str, Any]) -> dict[str, Callable[..., dict[str, Any]]]:
    """Import the runtime; returns what answers each command."""
    adapter = importlib.import_module(job["adapter"])
    adapter.prepare(job["threads"])
    inputs = np.load(job["inputs"], mmap_mode="r", allow_pickle=False)
    timed: Callable[[], int]

    def load() -> dict[str, Any]:
        nonlocal timed
        before, started = resident_bytes(), perf_counter_ns()
        forward = adapter.load(job["artifact"], job["threads"])
        elapsed = perf_counter_ns() - started
        timed = timer(forward, inputs)
        found = {"ns": elapsed, "rss_bytes_before": before, "rss_bytes_after": resident_bytes(), "first_inference_ns": timed()}
        # As in a benchmark of one artifact: a collection of Python's garbage is no part of an inference.
        gc.collect()
        gc.freeze()
        gc.disable()
        return found

    def block(min_ns: int) -> dict[str, Any]:
        # The caches belong to the other side: one inference that is not counted takes them back.
        timed()
        durations, opened = list[int](), perf_counter_ns()
        while len(durations) < _MIN_INFERENCES or perf_counter_ns() - opened < min_ns:
            durations.append(timed())
        return {"t0_ns": opened, "durations_ns": durations}

    return {"load": load, "warm_up": lambda bound_s, tolerance: warm_up(timed, bound_s, tolerance), "block": block}


if __name__ == "__main__":
    sys.exit(main())
