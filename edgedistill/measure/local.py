"""Run the runner in a child process on this machine, one runtime a process."""

import json
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, TypeVar

from edgedistill import child, scratch, storage
from edgedistill.errors import DeviceFailed, NotExecuted
from edgedistill.files import write_json
from edgedistill.measure.generation import NO_STATE, Asked
from edgedistill.measure.generation_figures import figures
from edgedistill.measure.job import Job, RunJob, Side, by_name
from edgedistill.measure.records import RECORDS_LIMIT, Execution, Record, find_error, parse, read_lines, to_execution
from edgedistill.measure.runner import bounded
from edgedistill.measure.runner.job_types import BenchSettings
from edgedistill.measure.runner.signals import signal_name
from edgedistill.records import Unavailable
from edgedistill.signature import MethodSignature

_LOOK_EVERY_S = 1.0
_HEAD = 1 << 20
"""Bytes of records or of a log that an error is explained with."""
_GRACE_S, _RESTORING_S = 1.0, 5.0
"""How long a runner may take to end when it is asked, and one that restores settings of the device."""
Seen = Callable[[list[Record]], None]
Reduced = TypeVar("Reduced")


def execute(
    adapter: str,
    artifact: Path,
    inputs: Path | Mapping[str, Path],
    *,
    signature: MethodSignature,
    outputs: Path | None,
    threads: int,
    bench: BenchSettings | None,
    log: Path,
    timeout_s: float,
    generation: Asked | Unavailable = NO_STATE,
    python: str = sys.executable,
) -> Execution:
    """Run `artifact` through `adapter` (a module path) in a child process, and return what was measured.

    signature: what the artifact takes and gives. inputs: a folder with NAME.npy for each input, [N, ...] where row i is sample i, or the
    file of each name; see `runner.samples`. Of a single input it may be its .npy. outputs: the folder for the same of each output, or the
    .npy of a single one; None runs the first sample only.
    bench: None, or how long to measure; see docs/measuring.md. generation: what to measure then of a file with a state, or why nothing.
    log: the child's stdout and stderr are appended to it.

    Raises DeviceFailed, naming artifact, cause, last line of the log and the log, when the child crashed, was stopped after timeout_s,
    reported an error, or left no matching `end` record; NotExecuted when the adapter has no rule for something in the file.
    """
    written = None if outputs is None else by_name(signature.outputs, outputs)
    side = Side(adapter, artifact, signature, by_name(signature.inputs, inputs))
    settings = None if bench is None or isinstance(generation, Unavailable) else generation.settings
    job = RunJob(side=side, threads=threads, outputs=written, bench=bench, generation=settings)

    def reduce(records: list[Record]) -> Execution:
        executed = to_execution(records, written)
        return executed if bench is None else replace(executed, generation=figures(records, generation))

    return run(job, log=log, timeout_s=timeout_s, python=python, reduce=reduce)


def run(
    job: Job,
    *,
    log: Path,
    timeout_s: float,
    reduce: Callable[[list[Record]], Reduced],
    records: Path | None = None,
    seen: Seen | None = None,
    python: str = sys.executable,
) -> Reduced:
    """Carry out `job` in a child process and return what `reduce` makes of its records.

    records: where the records are kept, also those of a run that failed or was interrupted. seen: called now and then with the new ones.
    Raises DeviceFailed as `execute` does; one of `reduce` is told in the same way. Raises StorageFailed where the disk is full.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with scratch.temporary() as folder:
        out = folder / "out.jsonl" if records is None else records.resolve()
        out.parent.mkdir(parents=True, exist_ok=True)
        here = job.placed(lambda path: str(path.resolve()), _made_ready)
        write_json(folder / "job.json", here)
        arguments = ["--job", f"{folder}/job.json", "--out", str(out)]
        command = child.command("edgedistill.measure.runner", *arguments, python=python, ends_by=signal.SIGTERM)
        with open(log, "ab") as handle:
            handle.write(f"{json.dumps(command)} for {job}\n".encode())
            handle.flush()
            start = handle.tell()
            grace_s = _GRACE_S if job.conditions is None else _RESTORING_S
            code = _wait(command, handle, out, timeout_s, grace_s, _follower(out, seen))
        data = b""
        if out.exists():
            with open(out, "rb") as written:
                data = written.read(RECORDS_LIMIT)
    try:
        if isinstance(code, bounded.TooMuchOutput):
            # What it wrote without end is no help.
            data = data[:_HEAD]
            raise DeviceFailed(str(code))
        if code is None:
            raise DeviceFailed(f"the runner was stopped, since it had not finished after {timeout_s:g} s")
        if code < 0:
            raise DeviceFailed(f"the runner was killed by {signal_name(-code)}")
        complete = parse(data, job.nonce)
        if code != 0:
            raise DeviceFailed(f"the runner ended with exit status {code} after a complete run")
        return reduce(complete)
    except NotExecuted:
        raise
    except DeviceFailed as failure:
        text = bounded.tail(log, _HEAD, start)
        if full := storage.failure_in(f"{failure}\n{text}", log.parent):
            raise full from failure
        raise explained(job, failure, read_lines(data), text, log) from failure


def explained(job: Job, failure: DeviceFailed, records: list[Record], written: str, log: Path) -> DeviceFailed:
    """`failure` with the job's files, the last line that the runner had `written` to `log`, and where that is; its traceback goes there."""
    if error := find_error(records):
        with open(log, "a") as text:
            text.write(error["traceback"])
    line = next((line.strip() for line in reversed(written.split("\n")) if line.strip()), "")
    last = f" (last line of its log: {line[-300:]})" if line else ""
    return DeviceFailed(f"{str(job).replace(' with ', ' did not run with ')}: {failure}{last}. The log is {log}")


def _made_ready(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    return str(path.resolve())


def _wait(
    command: list[str], log: IO[bytes], out: Path, timeout_s: float, grace_s: float, look: Callable[[], None]
) -> int | bounded.TooMuchOutput | None:
    """Exit status of `command`, None after `timeout_s`, or what says that it wrote too much to `log` or `out`."""
    files: dict[bounded.Growing, int] = {log: bounded.LOG_LIMIT, out: RECORDS_LIMIT}
    try:
        with child.started(command, grace_s=grace_s, stdout=log, stderr=log) as process:
            return child.wait(process, timeout_s, files, look)
    except bounded.TooMuchOutput as error:
        return error


def _follower(out: Path, seen: Seen | None) -> Callable[[], None]:
    """A function that hands the records that `out` got since its last call to `seen`."""
    place, next_look = 0, 0.0

    def look() -> None:
        nonlocal place, next_look
        if seen is None or time.monotonic() < next_look or not out.exists():
            return
        next_look = time.monotonic() + _LOOK_EVERY_S
        with open(out, "rb") as handle:
            handle.seek(place)
            whole = handle.read(RECORDS_LIMIT).rpartition(b"\n")[0]
        if whole:
            place += len(whole) + 1
            seen(read_lines(whole))

    return look
