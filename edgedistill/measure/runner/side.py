"""One side of an interleaved comparison, in its own process. It loads the model and runs a short block on each command.

It reads one JSON object per line from stdin, first the job and then commands, and answers each with one line on stdout. In between it
waits for the pipe and uses no processor. It ends when stdin closes, so that no side outlives a killed runner.
"""

import gc
import importlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from time import perf_counter_ns

from edgedistill.measure.runner.facts import resident_bytes
from edgedistill.measure.runner.job_types import SideJob
from edgedistill.measure.runner.record_types import LoadFigures, TimedBlock
from edgedistill.measure.runner.samples import Samples
from edgedistill.measure.runner.sampling import timer, warm_up

# The median of fewer is hardly better than a single duration.
_MIN_INFERENCES = 3


def main() -> int:
    """Serve one comparison. An error gives a traceback on stderr and the exit status 1."""
    # Runtimes may print anything. Redirect their stdout to stderr, so that the pipe to the runner stays clean.
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    answers = None
    for line in sys.stdin.buffer:
        message = json.loads(line)
        if answers is None:
            answers = _answers(message)
            reply: Mapping[str, object] = {"pid": os.getpid()}
        else:
            reply = answers[message.pop("do")](**message)
        pipe.write(json.dumps(reply, allow_nan=False).encode() + b"\n")
        pipe.flush()
    return 0


def _answers(job: SideJob) -> dict[str, Callable[..., Mapping[str, object]]]:
    """Import the runtime; returns the function that answers each command."""
    adapter = importlib.import_module(job["adapter"])
    adapter.prepare(job["threads"])
    samples = Samples(job["inputs"], job["signature"]["inputs"])
    timed: Callable[[], int]

    def load() -> LoadFigures:
        nonlocal timed
        before, started = resident_bytes(), perf_counter_ns()
        forward = adapter.load(job["artifact"], job["threads"], job["signature"])
        elapsed = perf_counter_ns() - started
        timed = timer(forward, samples)
        loaded: LoadFigures = {
            "ns": elapsed, "rss_bytes_before": before, "rss_bytes_after": resident_bytes(), "first_inference_ns": timed()
        }  # fmt: skip
        # As in a benchmark of one artifact: garbage collection of Python is not part of an inference.
        gc.collect()
        gc.freeze()
        gc.disable()
        return loaded

    def block(min_ns: int) -> TimedBlock:
        # The caches hold data of the other side. One inference that does not count refills them.
        timed()
        durations, opened = list[int](), perf_counter_ns()
        while len(durations) < _MIN_INFERENCES or perf_counter_ns() - opened < min_ns:
            durations.append(timed())
        return {"t0_ns": opened, "durations_ns": durations}

    return {"load": load, "warm_up": lambda bound_s, tolerance: warm_up(timed, bound_s, tolerance), "block": block}


if __name__ == "__main__":
    sys.exit(main())
