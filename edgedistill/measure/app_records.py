"""Reads the records of a measuring app, checks them, and puts them among those of the runner that watched the device meanwhile.

docs/devices.md says what an app has to write.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from pydantic import Field, ValidationError

from edgedistill.errors import DeviceFailed
from edgedistill.measure.records import Record, parse, read_lines
from edgedistill.measure.runner.record_types import MissingSensor
from edgedistill.records.base import Record as Model

_LONGEST_NS = 10**13
Duration = Annotated[int, Field(strict=True, gt=0, lt=_LONGEST_NS)]
Nanoseconds = Annotated[int, Field(strict=True, ge=0)]
Bytes = Annotated[int, Field(strict=True, ge=0)]
_OTHERS = "the app is a process of its own, which counts among the others"
_TIMES = "times have to be nanoseconds of System.nanoTime() on Android, of CLOCK_UPTIME_RAW on iOS"
_MEMORY = "it would be that of the runner, and the app is a process of its own"


class AppStart(Model):
    """The begin of an app's records: what it measures, and with what."""

    nonce: str
    versions: dict[str, str]
    artifact: str
    sha256: str
    threads: Annotated[int, Field(strict=True, ge=1)]


class _Clock(Model):
    monotonic_ns: Nanoseconds
    time_ns: Nanoseconds


class _Load(Model):
    kind: Literal["first", "warm"]
    ns: Duration


class _FirstInference(Model):
    ns: Duration


class _Memory(Model):
    rss_runtime_loaded: Bytes | None
    peak_rss: Bytes | None
    source: str


class _Warmup(Model):
    steady: Annotated[bool, Field(strict=True)]


class _Iterations(Model):
    t0_ns: Nanoseconds
    durations_ns: list[Duration] = Field(min_length=1)


class _Sensor(Model):
    name: str
    unit: str
    source: str


class _Sensors(Model):
    available: list[_Sensor]


class _Sweep(Model):
    t_ns: Nanoseconds
    values: dict[str, Annotated[float, Field(allow_inf_nan=False)]]


class _Error(Model):
    message: str


class _End(Model):
    nonce: str
    records: int
    sha256: str


_KINDS: dict[str, type[Model]] = {
    "start": AppStart, "clock": _Clock, "load": _Load, "first_inference": _FirstInference, "memory": _Memory, "warmup": _Warmup,
    "iterations": _Iterations, "sensors": _Sensors, "sensor": _Sweep, "error": _Error, "end": _End,
}  # fmt: skip
_TAKEN = ("clock", "load", "first_inference", "memory", "warmup", "iterations", "sensors", "sensor")
"""Kinds that stand among the runner's records; others, such as `output`, only stay in the raw records."""
_NEEDED = ("start", "clock", "load", "first_inference", "warmup", "iterations")


def read(data: bytes, nonce: str) -> list[Record]:
    """The records of a complete run of an app.

    Raises DeviceFailed for records that are incomplete, changed or of another run, for an `error` record with its message, and where a
    record that is needed or a field of one is missing or of another type; NotExecuted where the app refused the file.
    """
    found = read_lines(data)
    for number, record in enumerate(found, 1):
        _check(number, record)
    try:
        records = parse(data, nonce)
    except DeviceFailed as failure:
        raise type(failure)(str(failure).replace("the runner", "the app")) from failure
    kinds = [record["type"] for record in records]
    if missing := [kind for kind in _NEEDED if kind not in kinds]:
        raise DeviceFailed(f"the app wrote no '{missing[0]}' record; docs/devices.md lists what it has to write")
    loads = [record["kind"] for record in records if record["type"] == "load"]
    if sorted(loads) != ["first", "warm"]:
        raise DeviceFailed(f"found the loads {', '.join(loads)} in the app's records, expected one first and one warm")
    return records


def about(records: list[Record]) -> AppStart:
    """What the app says of itself at the start."""
    return AppStart.model_validate(records[0])


def merged(own: list[Record], app: list[Record]) -> list[Record]:
    """The runner's records `own` with those of the app in the place of its `program` record.

    Versions are the app's. The runner's sensors of a process are left out, since that process was not the measured one. Raises DeviceFailed
    if the inferences were not on the device's monotonic clock while the runner watched.
    """
    _check_clock(own, app)
    named = {entry["name"] for record in app if record["type"] == "sensors" for entry in record["available"]}
    taken, whole = [record for record in app if record["type"] in _TAKEN], list[Record]()
    if not any(record["type"] == "memory" for record in taken):
        why = "the app wrote no memory record"
        taken.append({"type": "memory", "rss_runtime_loaded": None, "peak_rss": None, "source": why})
    kept = set[str]()
    for record in own:
        if record["type"] == "start":
            whole.append({**record, "versions": about(app).versions})
        elif record["type"] == "sensors":
            available = [entry for entry in record["available"] if not _of_process(entry["name"])]
            dropped = [entry for entry in record["available"] if _of_process(entry["name"]) and entry["name"] not in named]
            kept |= {entry["name"] for entry in available}
            missing: list[MissingSensor] = [
                {"name": entry["name"], "unit": entry["unit"], "reason": _OTHERS if entry["name"] == "load.others" else _MEMORY}
                for entry in dropped
            ]
            # What the app reads itself is there.
            unknown = [entry for entry in record["unavailable"] if entry["name"] not in named]
            whole.append({**record, "available": available, "unavailable": [*unknown, *missing]})
        elif record["type"] == "sensor":
            whole.append({**record, "values": {name: value for name, value in record["values"].items() if not _of_process(name)}})
        elif record["type"] == "program":
            whole += [_without(entry, kept) for entry in taken]
        else:
            whole.append(record)
    return whole


def on_the_clock_of(app: list[Record], own: list[Record]) -> list[Record]:
    """The records `own` of this machine, which watched an app from start to end, with their times on the clock of the app's phone.

    No command tells that clock. But the first time in the app's records is after the start, and the last one before the end was seen: half
    of what is left over is the largest error, some seconds. Raises DeviceFailed if the app's times take longer than it was watched.
    """
    begin, end = _watched(own)
    times = [record["monotonic_ns"] for record in app if record["type"] == "clock"]
    for record in app:
        if record["type"] == "iterations":
            times += [record["t0_ns"], record["t0_ns"] + sum(record["durations_ns"])]
    first, last = min(times), max(times)
    if last - first > end - begin:
        raise DeviceFailed(
            f"found times over {(last - first) / 1e9:.1f} s, and the app was watched for {(end - begin) / 1e9:.1f} s: {_TIMES}"
        )
    offset = (begin - first + end - last) // 2
    moved = [{**entry, "t_ns": entry["t_ns"] - offset} if "t_ns" in entry else entry for entry in cast(list[dict[str, Any]], own)]
    return cast(list[Record], moved)


def _of_process(name: str) -> bool:
    """Whether a sensor of the runner tells its own process from the others."""
    return name == "load.others" or name.startswith("memory.")


def _without(record: Record, names: set[str]) -> Record:
    """A record of the app without sensors that the runner read itself."""
    if record["type"] == "sensors":
        return {**record, "available": [entry for entry in record["available"] if entry["name"] not in names], "unavailable": []}
    if record["type"] == "sensor":
        return {**record, "values": {name: value for name, value in record["values"].items() if name not in names}}
    return record


def _watched(own: list[Record]) -> tuple[int, int]:
    """Begin and end of the time in which the app ran, in ns."""
    begin, end = (
        next(record["t_ns"] for record in own if record["type"] == "phase" and record["name"] == name) for name in ("work", "end")
    )
    return begin, end


def _check_clock(own: list[Record], app: list[Record]) -> None:
    begin, end = _watched(own)
    for record in app:
        if record["type"] != "iterations":
            continue
        first, last = record["t0_ns"], record["t0_ns"] + sum(record["durations_ns"])
        if not begin <= first <= last <= end:
            raise DeviceFailed(
                f"found inferences from {first} to {last} ns, expected them from {begin} to {end} ns, while the app was watched: {_TIMES}"
            )


def _check(number: int, record: Record) -> None:
    kind = cast(object, record["type"])
    model = _KINDS.get(kind) if isinstance(kind, str) else None
    if model is None:
        return
    try:
        model.model_validate(record)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"]))
        found = repr(first["input"])[:60]
        raise DeviceFailed(
            f"line {number} of the app's records: '{field}' of '{kind}': {first['msg']}, found {found}; see docs/devices.md"
        ) from error
