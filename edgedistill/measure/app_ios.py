"""An app on an iPhone: this machine starts it, follows its file, reads the battery, and ends it. Nothing else runs on the phone."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from edgedistill.errors import DeviceFailed, UserError
from edgedistill.measure import app_runner, harness
from edgedistill.measure.app_conditions import Battery, established
from edgedistill.measure.runner.records import Recorder

if TYPE_CHECKING:
    from edgedistill.measure.harness import Protocol
    from edgedistill.measure.ios.base import Attached, Iphone

VARIABLE = "EDGEDISTILL_JOB"
JOB_FILE = "edgedistill/job.json"
"""Where the job lies too, for an XCTest in the app, which gets no environment of ours."""
LOOK_S = 5.0
"""Seconds from one look at the file to the next: each one copies it, which costs the phone some work."""
_MISSES = 2
_END_S = 20.0
_BUNDLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*(?:\.[A-Za-z0-9-]+)+")
_CRASHED = "; its crash report is on the phone (Settings > Privacy & Security > Analytics & Improvements) and in Xcode's window Devices"


@contextmanager
def opened(name: str, spec: str, protocol: Protocol) -> Iterator[app_runner.Ready]:
    """Take the phone `spec`, with the app `name`, a bundle identifier, an .ipa or an .app; see `app_runner.bench_app`."""
    from edgedistill.measure import ios
    from edgedistill.measure.ios import facts
    from edgedistill.measure.locks import on_host

    _refuse(protocol)
    package, bundle = _named(name)
    phone = ios.iphone(spec.partition(":")[2])
    with on_host(spec):
        about = facts.usable(phone)
        if package is not None:
            harness.log(f"installing {package}")
            phone.install(package)
        app = phone.installed(bundle)
        if app is None:
            raise UserError(f"{spec} has no app {bundle}: run it once from Xcode, or give an .ipa or .app, which is installed first")
        described = facts.described(about, facts.battery(phone))
        yield app_runner.Ready(described, bundle, app.build, lambda run: _measure(phone, about, bundle, protocol, run))


def _refuse(protocol: Protocol) -> None:
    """Raise UserError for options of which nothing comes on iOS."""
    given = {
        "--governor": protocol.governor, "--python": protocol.python, "--mirror": protocol.mirror, "--meter": protocol.meter,
        "--ina": protocol.ina,
    }  # fmt: skip
    if wrong := [option for option, value in given.items() if value]:
        raise UserError(f"found {', '.join(wrong)} with an iPhone, expected none of them: nothing else than the app runs there")


def _named(name: str) -> tuple[Path | None, str]:
    from edgedistill.measure.ios.package import SUFFIXES, bundle_of

    package = Path(name)
    # A bundle identifier may end with .app too.
    if package.suffix in SUFFIXES and package.exists():
        return package, bundle_of(package)
    if package.suffix == ".ipa" or _BUNDLE.fullmatch(name) is None:
        raise UserError(f"--app: found '{name}', expected a bundle identifier such as org.example.app, or an .ipa or .app that is there")
    return None, name


def _measure(phone: Iphone, about: Attached, bundle: str, protocol: Protocol, run: app_runner.Run) -> app_runner.Watched:
    from edgedistill.measure import app_records
    from edgedistill.measure.records import read_lines

    run.kept.parent.mkdir(parents=True, exist_ok=True)
    # What the app wrote is added from elsewhere too.
    with open(run.kept, "ab") as handle:
        recorder, battery = Recorder(handle), Battery(phone, about.wired)
        recorder.write("start", nonce=run.nonce, versions={}, facts=_machine(about))
        with established(protocol.conditions, battery, recorder):
            harness.log("the app measures")
            began = time.monotonic_ns()
            written = _run(phone, bundle, run)
            recorder.write("program", command=["launch", bundle], text="", ns=time.monotonic_ns() - began, peak_rss=None)
        battery.sweep(recorder)
        recorder.end(run.nonce)
    own = read_lines(run.kept.read_bytes())
    with open(run.kept, "ab") as handle:
        handle.write(written)
    records = app_records.read(written, run.nonce)
    return app_runner.Watched(app_records.on_the_clock_of(records, own), records, meters={})


def _machine(about: Attached) -> dict[str, object]:
    """What a runner would tell of the machine that it runs on."""
    return {"cpu": about.model, "cpu_flags": [], "cores": None, "platform": about.system, "python": "none"}


def _run(phone: Iphone, bundle: str, run: app_runner.Run) -> bytes:
    """Start the app, wait until it has finished, end it, and return what it wrote. What a run that fails wrote is added to `kept`."""
    try:
        try:
            phone.push(bundle, run.job.encode(), JOB_FILE)
        except DeviceFailed as error:
            harness.log(f"{JOB_FILE} was not written, so the job is in the environment of the app alone: {error}")
        phone.start(bundle, {VARIABLE: run.job})
        state, data, why = _followed(phone, bundle, app_runner.out_path(run.nonce))
    finally:
        _end(phone, bundle)
    if state == "ended":
        return data
    with open(run.kept, "ab") as handle:
        handle.write(data)
    last = f"; the last try to read its file said: {why}" if why and not data else ""
    raise DeviceFailed(f"{app_runner.unfinished(bundle, state, data)}{_CRASHED if state == 'died' else ''}{last}")


def _followed(phone: Iphone, bundle: str, path: str) -> tuple[str, bytes, str]:
    """Copy the file of the app again and again until the app has ended: how it ended, what it wrote, and why the last try failed, or ""."""
    from edgedistill.measure.devices.base import LinkLost
    from edgedistill.measure.records import RECORDS_LIMIT
    from edgedistill.measure.session import RECONNECT_S, patiently

    data, gone = b"", 0
    began = changed = time.monotonic()
    while True:
        time.sleep(LOOK_S)
        why = ""
        try:
            fresh = patiently(phone, RECONNECT_S, lambda: phone.pull(bundle, path, RECORDS_LIMIT))
        except LinkLost:
            raise
        except DeviceFailed as error:
            # The app has not made it yet, or the phone is busy.
            fresh, why = b"", str(error)
        now = time.monotonic()
        if len(fresh) > len(data):
            data, changed, gone = fresh, now, 0
        elif not patiently(phone, RECONNECT_S, lambda: phone.running(bundle)):
            gone += 1
        if _ended(data):
            return "ended", data, why
        if gone >= _MISSES:
            return "died", data, why
        if now - changed >= app_runner.STALL_S:
            return "stalled", data, why
        if now - began >= app_runner.LIMIT_S:
            return "slow", data, why


def _ended(data: bytes) -> bool:
    """Whether the last line is the record of an end."""
    try:
        record = json.loads(data[data.rstrip(b"\n").rfind(b"\n") + 1 :])
    except (ValueError, RecursionError):
        return False
    return data.endswith(b"\n") and isinstance(record, dict) and record.get("type") in ("end", "error")


def _end(phone: Iphone, bundle: str) -> None:
    """End the app. Its file stays; the app removes it before it writes the next one."""
    from edgedistill.measure.devices.commands import without_interrupts
    from edgedistill.measure.session import patiently

    with without_interrupts():
        try:
            patiently(phone, _END_S, lambda: phone.terminate(bundle))
        except DeviceFailed as error:
            harness.log(f"{error}; {bundle} was not ended")
