"""Executes the runner on a phone or board: starts it detached, follows it, collects its records, and cleans up."""

import json
import shlex
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from edgedistill import progress, scratch
from edgedistill.errors import DeviceFailed, NotExecuted
from edgedistill.files import canonical_hash, sha256_file, write_json
from edgedistill.measure.job import Job, StressJob
from edgedistill.measure.local import Reduced, Seen, explained
from edgedistill.measure.locks import BEAT
from edgedistill.measure.records import RECORDS_LIMIT, Record, parse, read_lines
from edgedistill.measure.runner.bounded import LOG_LIMIT
from edgedistill.measure.runner.signals import signal_name
from edgedistill.measure.session import ALIVE, CLEAN_JOB, Session, end_job, end_others

_FIRST_LOOK_S, _LOOK_EVERY_S = 0.3, 2.0
_STARTED_S = 20
_HEAD = 1 << 20
"""Bytes of records without end that an error is explained with."""

# The group's leader waits to record how the runner ended. If the folder is gone by then, the job was cancelled.
_START = """
cd {runner} || exit 9
export JOB={folder} PYTHON={python} PYTHONDONTWRITEBYTECODE=1
cat /proc/sys/kernel/random/boot_id > "$JOB/boot" 2>/dev/null || echo none > "$JOB/boot" || exit 9
setsid nohup sh -c '
    echo $$ > "$JOB/pid" && "$PYTHON" -m edgedistill.measure.runner --job "$JOB/job.json" --out "$JOB/out.jsonl"
    echo $? > "$JOB/code.new" && mv "$JOB/code.new" "$JOB/code"
' </dev/null >"$JOB/log.txt" 2>&1 &
n=0; while [ ! -f "$JOB/pid" ] && [ $n -lt {tries} ]; do sleep 0.1; n=$((n+1)); done
[ -f "$JOB/pid" ]
"""
_LOOK = """
cd {folder} || exit 9
{beat}
cat /proc/sys/kernel/random/boot_id 2>/dev/null || echo none
if [ -f log.txt ] && [ "$(wc -c <log.txt)" -gt {log} ]; then echo floods
elif [ -f code ]; then cat code; elif alive .; then echo runs; elif [ -f code ]; then cat code; else echo gone; fi
[ -f out.jsonl ] && tail -c +{offset} out.jsonl | head -c {piece}
true
"""
_PIECE = 4 << 20
"""Bytes of the records that are asked for at once."""


def run(
    session: Session,
    job: Job,
    *,
    log: Path,
    timeout_s: float,
    reduce: Callable[[list[Record]], Reduced],
    records: Path | None = None,
    seen: Seen | None = None,
) -> Reduced:
    """Do what `local.run` does on the device of `session`. The runner continues while a dropped link is restored.

    Raises DeviceFailed and NotExecuted as `local.run` does, and LinkLost if the device does not come back.
    """
    device, kept, fetched = session.device, bytearray(), dict[Path, str]()
    folder, nonce, text = f"{device.root}/jobs/{job.nonce[:16]}", job.nonce, ""
    # It takes so long that a new session continues it after its predecessor was killed.
    lasting = isinstance(job, StressJob)
    if lasting:
        folder = f"{device.root}/jobs/{_key(job)[:16]}"

    def later(path: Path) -> str:
        return fetched.setdefault(path, f"{folder}/{len(fetched)}{path.suffix}")

    try:
        session.patiently(lambda: end_others(device, folder))
        there = job.placed(session.send, later)
        if lasting and (earlier_nonce := session.patiently(lambda: _unfinished(session, folder))) is not None:
            progress.log(f"{device.spec}: continuing the job that an earlier session started there")
            nonce = earlier_nonce
        else:
            with scratch.temporary() as here:
                written = here / "job.json"
                write_json(written, there)
                session.patiently(lambda: device.push(written, f"{folder}/job.json"))
            session.patiently(lambda: _start(session, folder))
        try:
            code = _follow(session, folder, kept, timeout_s, records, seen)
        finally:
            text = _log(session, folder)
        if code >= 128:
            raise DeviceFailed(f"the runner was killed by {signal_name(code - 128)}")
        complete = parse(bytes(kept), nonce)
        if code != 0:
            raise DeviceFailed(f"the runner ended with exit status {code} after a complete run")
        for path, source in fetched.items():
            session.patiently(lambda path=path, source=source: device.pull(source, path))  # type: ignore[misc]
        return reduce(complete)
    except NotExecuted:
        raise
    except DeviceFailed as failure:
        described_failure = type(failure)(f"{failure}{_full(session, folder)}")
        raise type(failure)(str(explained(job, described_failure, read_lines(bytes(kept)), text, log))) from failure
    finally:
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "a") as handle:
            handle.write(f"{device.spec}: {job}\n{text}")
        end_job(device, folder)


def _key(job: Job) -> str:
    """Identifies a job across sessions: all of it but its nonce, with its files by their content."""
    return canonical_hash(replace(job, nonce="").placed(sha256_file, lambda path: path.name))


def _unfinished(session: Session, folder: str) -> str | None:
    """The nonce of the job in `folder` if it runs or has ended; otherwise None, and the folder is removed."""
    quoted = shlex.quote(folder)
    reply = session.device.sh(
        f"{CLEAN_JOB}\nif [ -f {quoted}/code ] || alive {quoted}; then cat {quoted}/job.json; else clean {quoted}; fi"
    )
    try:
        return str(json.loads(reply.out)["nonce"])
    except (ValueError, KeyError):
        return None


def _log(session: Session, folder: str) -> str:
    """The end of the runner's log, or nothing if the device is gone."""
    try:
        return session.device.sh(f"tail -c 200000 {shlex.quote(folder)}/log.txt 2>/dev/null").out
    except DeviceFailed:
        return ""


def _start(session: Session, folder: str) -> None:
    quoted = shlex.quote(folder)
    script = _START.format(folder=quoted, runner=shlex.quote(session.runner), python=shlex.quote(session.python), tries=10 * _STARTED_S)
    # Do not start it again if only the answer to the first start was lost.
    reply = session.device.sh(f"[ -f {quoted}/pid ] && exit 0\n{script}")
    if reply.code:
        raise DeviceFailed(f"the runner did not start: {reply.err.strip() or reply.out.strip() or f'exit status {reply.code}'}")


def _follow(session: Session, folder: str, kept: bytearray, timeout_s: float, records: Path | None, seen: Seen | None) -> int:
    """Collect the records as they arrive until the runner has ended; returns its exit status."""
    device, limit, pause, passed_on = session.device, time.monotonic() + timeout_s, _FIRST_LOOK_S, 0
    boot = session.patiently(lambda: device.sh(f"cat {shlex.quote(folder)}/boot")).out.strip()
    if records is not None:
        records.parent.mkdir(parents=True, exist_ok=True)
        records.write_bytes(b"")
    while True:
        script = ALIVE + _LOOK.format(
            folder=shlex.quote(folder), beat=BEAT.format(root=shlex.quote(device.root)), offset=len(kept) + 1, piece=_PIECE, log=LOG_LIMIT
        )
        reply = session.patiently(lambda script=script: device.sh(script))  # type: ignore[misc]
        if reply.code == 9:
            raise DeviceFailed(f"{folder} is gone from the device")
        now_boot, _, rest = reply.out.partition("\n")
        state, _, new = rest.partition("\n")
        kept += new.encode()
        if records is not None and new:
            with open(records, "ab") as handle:
                handle.write(new.encode())
        whole = kept.rfind(b"\n") + 1
        if seen is not None and whole > passed_on:
            seen(read_lines(bytes(kept[passed_on:whole])))
            passed_on = whole
        if len(kept) > RECORDS_LIMIT:
            del kept[_HEAD:]
            raise DeviceFailed(f"the runner was stopped, since it had written more than {RECORDS_LIMIT >> 20} MiB of records")
        if now_boot != boot:
            raise DeviceFailed(f"the device was rebooted during the run{_progress(kept)}")
        if len(new.encode()) >= _PIECE:
            # There is more.
            if time.monotonic() > limit:
                raise DeviceFailed(f"the runner was stopped, since its records had not arrived after {timeout_s:g} s")
            continue
        if state == "floods":
            raise DeviceFailed(f"the runner was stopped, since it had printed more than {LOG_LIMIT >> 20} MiB")
        if state.isdigit():
            return int(state)
        if state == "gone":
            raise DeviceFailed(f"the runner and what watched it were killed{_progress(kept)}")
        if time.monotonic() > limit:
            raise DeviceFailed(f"the runner was stopped, since it had not finished after {timeout_s:g} s")
        time.sleep(pause)
        pause = min(_LOOK_EVERY_S, pause * 1.5)


def _progress(kept: bytearray) -> str:
    records = read_lines(bytes(kept))
    return f", after its '{records[-1].get('type')}' record" if records else ", before its first record"


def _full(session: Session, folder: str) -> str:
    """A remark if the device's disk is full; empty otherwise, and if the device can't be reached."""
    try:
        row = session.device.sh(f"df -k {shlex.quote(folder)} | tail -1").out.split()
    except DeviceFailed:
        return ""
    return "; the device's disk is full" if len(row) > 3 and row[3].isdigit() and int(row[3]) < 1024 else ""
