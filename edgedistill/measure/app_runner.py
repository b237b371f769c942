"""Measures a model in an app of the user (`--app`): in the app's own process, build and runtime, under the same protocol."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgedistill.errors import DeviceFailed, UserError
from edgedistill.measure import harness
from edgedistill.measure.job import SCHEMA

if TYPE_CHECKING:
    from edgedistill.measure.app_records import AppStart
    from edgedistill.measure.harness import Protocol
    from edgedistill.measure.runner.record_types import Record
    from edgedistill.measure.series import Series
    from edgedistill.records.devices import DeviceFacts
    from edgedistill.records.measurements import MeasuredFile, Measurement, Setup
_SINGLE_CALLS = "apps measure single calls only; measure a file that keeps a state without --app"

STALL_S = 120
"""Seconds without a new record after which the app is ended."""
LIMIT_S = 3000
"""Seconds that the app may take, all in all."""
_SYSTEMS = {"adb": "Android", "ios": "iOS"}
_NO_OUTPUTS = "the app runs on inputs of its own and keeps no outputs, so its results cannot be verified here; run its self-test"


@dataclass(frozen=True)
class Run:
    """One run of an app. job: as the app gets it. kept: the file that gets all records, those of a run that fails too."""

    nonce: str
    job: str
    model: Path
    kept: Path


@dataclass(frozen=True)
class Watched:
    """What a run gave: the records of what watched the device, those of the app, and the series of the host's power meters."""

    own: list[Record]
    app: list[Record]
    meters: dict[str, Series]


@dataclass(frozen=True)
class Ready:
    """A phone that is reserved, with the app: how a measurement names the two, and what runs the app once.

    `run` raises DeviceFailed if the app did not come to an end.
    """

    facts: DeviceFacts
    adapter: str
    build: str
    run: Callable[[Run], Watched]


def bench_app(name: str, model: Path, spec: str, protocol: Protocol, *, save: str | None = None) -> Measurement:
    """Measure `model` in the app `name` on the phone `spec`; the app has the file itself.

    name: on Android PACKAGE or PACKAGE/ACTIVITY, on iOS a bundle identifier, or an .ipa or .app that is installed first. The measurement is
    stored. Raises UserError for another device than a phone, for cores, and for an app that is not installed; DeviceFailed for a phone that
    can't be reached. A failed measurement has a record too.
    """
    from edgedistill.measure import document

    system = _SYSTEMS.get(spec.partition(":")[0])
    if system is None:
        raise UserError(f"--app measures an app on a phone: found --device {spec}, expected adb:SERIAL or ios:UDID")
    if protocol.cores is not None:
        raise UserError(f"--app and --cores do not go together: {system} chooses the cores of an app")
    artifact = _measured_file(model)
    if system == "Android":
        from edgedistill.measure.app_android import opened
    else:
        from edgedistill.measure.app_ios import opened
    with opened(name, spec, protocol) as ready:
        setup = document.setup("bench", ready.facts, artifact, adapter=ready.adapter, build=ready.build, threads=protocol.threads)
        try:
            return _measure(ready, model, protocol, setup, save)
        except DeviceFailed as error:
            harness.log(f"error: {error}")
            return document.failed(setup, protocol.asked, str(error))


def _measured_file(model: Path) -> MeasuredFile:
    """What a measurement says of the file: of a folder, the hash of all that is in it."""
    from edgedistill.backends import of_suffix
    from edgedistill.files import sha256_tree, tree_bytes
    from edgedistill.records.measurements import MeasuredFile

    backend = of_suffix(model)
    if not model.exists() or (model.is_dir() and backend is None):
        raise UserError(f"no such file: {model}; --app takes the model file that the app has in its bundle")
    return MeasuredFile(
        name=model.name, file=str(model), format=backend.format if backend else model.suffix, precision=None, bytes=tree_bytes(model),
        sha256=sha256_tree(model),
    )  # fmt: skip


def app_job(nonce: str, artifact: str, sha256: str, protocol: Protocol) -> str:
    """The job as the app gets it, in JSON: of the runner's job what concerns an app, and where to write."""
    job = {
        "schema": SCHEMA, "nonce": nonce, "task": "run", "artifact": artifact, "sha256": sha256, "threads": protocol.threads,
        "bench": protocol.sampling, "out": out_path(nonce),
    }  # fmt: skip
    return json.dumps(job, separators=(",", ":"))


def out_path(nonce: str) -> str:
    """The file of the records within the app's own folder."""
    return f"edgedistill/{nonce}.jsonl"


def _measure(ready: Ready, model: Path, protocol: Protocol, setup: Setup, save: str | None) -> Measurement:
    from edgedistill.measure import app_records, document
    from edgedistill.measure.records import to_execution
    from edgedistill.progress import track
    from edgedistill.records import Unavailable

    spec, nonce = ready.facts.spec, secrets.token_hex(16)
    kept = harness.records_path(spec, nonce)
    with track(f"bench in {ready.adapter} on {spec}", 1) as progress:
        watched = ready.run(Run(nonce, app_job(nonce, model.name, setup.artifact.sha256, protocol), model, kept))
        _check_subject(app_records.about(watched.app), setup)
        whole = app_records.merged(watched.own, watched.app)
        progress.advance(1, last=model.name)
    execution, outputs, calls = to_execution(whole, None), Unavailable(unavailable=_NO_OUTPUTS), Unavailable(unavailable=_SINGLE_CALLS)
    measurement = document.measurement(setup, protocol.asked, ready.facts.emulated, execution, whole, watched.meters, outputs, calls)
    return harness.stored(measurement, kept, save and harness.saved_as(save, measurement))


def _check_subject(start: AppStart, setup: Setup) -> None:
    """Raise DeviceFailed unless the app says that it measured the file of `setup`, with its threads."""
    if start.sha256 != setup.artifact.sha256:
        raise DeviceFailed(
            f"the app measured {start.artifact} with SHA-256 {start.sha256[:16]}, expected that of {setup.artifact.file}, "
            f"{setup.artifact.sha256[:16]}: build the app with the bundle of this file"
        )
    if start.threads != setup.threads:
        raise DeviceFailed(f"the app measured with {start.threads} threads, expected {setup.threads}: give --threads {start.threads}")


def unfinished(app: str, state: str, data: bytes) -> str:
    """How an app that did not come to an end was ended. state: died, stalled or slow. data: what it had written."""
    from edgedistill.measure.records import read_lines

    records = read_lines(data)
    where = f"after its '{records[-1]['type']}' record" if records else "before its first record"
    if state == "died":
        return f"{app} crashed or was killed, {where}"
    why = f"had written no record for {STALL_S} s" if state == "stalled" else f"had not finished after {LIMIT_S} s"
    return f"{app} was ended, since it {why}, {where}"
