"""Command line of the runner. It reads a job and writes its records; it exits with 0 after the `end` record, with 1 after `error`."""

import argparse
import importlib
import json
import signal
import sys
import time
import traceback
from pathlib import Path

from edgedistill.measure.runner import facts
from edgedistill.measure.runner.conditions import conditions
from edgedistill.measure.runner.job_types import AnyJob
from edgedistill.measure.runner.records import Recorder
from edgedistill.measure.runner.refusal import NotExecutable

SCHEMA = 3
_TASKS = {"run": "sequence", "compare": "interleaved", "stress": "stress_load", "program": "program"}


def main() -> int:
    """Run one job. Any exception of the adapter or the runtime becomes the `error` record."""
    parser = argparse.ArgumentParser(prog="runner")
    parser.add_argument("--job", required=True, help="JSON file that says what to run")
    parser.add_argument("--out", required=True, help="JSON lines file to write the records to")
    arguments = parser.parse_args()
    with open(arguments.job) as handle:
        job = json.load(handle)
    # A request to end must still undo the changed settings.
    signal.signal(signal.SIGTERM, _stop)
    with open(arguments.out, "wb") as handle:
        recorder = Recorder(handle)
        try:
            _run(job, Path(arguments.out).resolve().parent, recorder)
        except Exception as error:
            refused = isinstance(error, NotExecutable)
            message = str(error) if refused else f"{type(error).__name__}: {error}"
            recorder.write("error", message=message, refused=refused, traceback=traceback.format_exc())
            return 1
        recorder.end(job["nonce"])
    return 0


def _run(job: AnyJob, folder: Path, recorder: Recorder) -> None:
    if job["schema"] != SCHEMA:
        raise ValueError(
            f"the job has schema {job['schema']} and this runner understands {SCHEMA}: use matching versions of host and runner"
        )
    adapters = [job["a"]["adapter"], job["b"]["adapter"]] if job["task"] == "compare" else [job["adapter"]]
    versions = [importlib.import_module(adapter).versions() for adapter in adapters]
    merged = {package: version for packages in versions for package, version in packages.items()}
    recorder.write("start", nonce=job["nonce"], versions=merged, facts=facts.machine())
    _clock(recorder)
    task = importlib.import_module(f"edgedistill.measure.runner.{_TASKS[job['task']]}")
    with conditions(job["conditions"], folder, recorder) as latest:
        task.run(job, recorder, latest)
    # A second reading shows the drift of the two clocks and whether one of them jumped.
    _clock(recorder)


def _clock(recorder: Recorder) -> None:
    # The uptime includes sleep, and a host can read it without Python.
    uptime = {"boottime_ns": time.clock_gettime_ns(time.CLOCK_BOOTTIME)} if hasattr(time, "CLOCK_BOOTTIME") else {}
    recorder.write("clock", monotonic_ns=time.monotonic_ns(), time_ns=time.time_ns(), **uptime)


def _stop(number: int, frame: object) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
