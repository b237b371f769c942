"""Reads the records of a runner, in the same way for a child process, a phone and a board."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from edgedistill.errors import DeviceFailed, NotExecuted
from edgedistill.measure.runner.generation_types import GenerationMemory
from edgedistill.measure.runner.record_types import Error, MachineFacts, Memory, Output, Record
from edgedistill.measure.statistics import latency_ms, median_interval_ms
from edgedistill.records import Latency, Load, Unavailable
from edgedistill.records.generation import Generation
from edgedistill.records.results import Interval

RECORDS_LIMIT = 128 << 20
"""Bytes of the records of a job: some ten million durations."""


@dataclass(frozen=True)
class Execution:
    """One artifact, executed by its runtime in its own process.

    latency_ms, median_interval_ms (95%) and steady (whether the warm-up ended in a steady state) are None without a benchmark.
    peak_rss_mb is the largest growth of the process, in MiB, while it loaded the artifact and ran it once. generation is None where it was
    not asked for.
    """

    versions: dict[str, str]
    facts: MachineFacts
    load_ms: Load
    first_inference_ms: float
    latency_ms: Latency | None
    median_interval_ms: Interval | None
    steady: bool | None
    peak_rss_mb: float | Unavailable
    peak_rss_source: str
    outputs: dict[str, Path] | None
    raw_durations_ns: list[int]
    generation: Generation | Unavailable | None = None


def read_lines(data: bytes) -> list[Record]:
    """The complete records in `data`. A runner that crashed may have left half a line at the end."""
    records: list[Record] = []
    for line in data.splitlines():
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            break
        if not isinstance(record, dict) or "type" not in record:
            break
        records.append(cast(Record, record))
    return records


def parse(data: bytes, nonce: str) -> list[Record]:
    """The records of a complete run: it began and ended with `nonce`, and its hash shows that nothing was lost or changed in between.

    Raises DeviceFailed with the message of an `error` record, or with what is missing; NotExecuted where the adapter refused the file.
    """
    records = read_lines(data)
    if error := find_error(records):
        raise (NotExecuted if error.get("refused") else DeviceFailed)(error["message"])
    first, last = (records[0], records[-1]) if records else (None, None)
    if last is None or last["type"] != "end":
        raise DeviceFailed(f"the runner stopped before its end record, after {_place(records)}")
    begun = first["nonce"] if first is not None and first["type"] == "start" else None
    if last["nonce"] != nonce or begun != nonce:
        raise DeviceFailed(f"the records belong to another run: expected nonce {nonce}, found {begun} and {last['nonce']}")
    *lines, _ = data.splitlines(keepends=True)
    digest = hashlib.sha256(b"".join(lines)).hexdigest()
    if last["records"] != len(lines) or last["sha256"] != digest:
        announced = f"{last['records']} records with SHA-256 {last['sha256']}"
        raise DeviceFailed(
            f"the records were changed or lost on the way: the end record announces {announced}, found {len(lines)} with {digest}"
        )
    return records


def find_error(records: list[Record]) -> Error | None:
    """The `error` record, if the runner wrote one."""
    return next((record for record in records if record["type"] == "error"), None)


def to_execution(records: list[Record], outputs: dict[str, Path] | None) -> Execution:
    """Reduce the records of a complete run to its figures; `outputs` has the path of each output's file on the host.

    Raises DeviceFailed if the file of an output is not the one that the runner wrote.
    """
    start = next(record for record in records if record["type"] == "start")
    memory = next(record for record in records if record["type"] == "memory")
    loads = {record["kind"]: record["ns"] / 1e6 for record in records if record["type"] == "load"}
    durations = [ns for record in records if record["type"] == "iterations" for ns in record["durations_ns"]]
    if outputs is not None:
        _check_outputs(outputs, [record for record in records if record["type"] == "output"])
    return Execution(
        versions=start["versions"],
        facts=start["facts"],
        load_ms=Load(cold=loads["first"], warm=loads["warm"]),
        first_inference_ms=next(record["ns"] for record in records if record["type"] == "first_inference") / 1e6,
        latency_ms=latency_ms(durations) if durations else None,
        median_interval_ms=median_interval_ms(durations),
        steady=next((record["steady"] for record in records if record["type"] == "warmup"), None),
        peak_rss_mb=peak_mb(memory),
        peak_rss_source=memory["source"],
        outputs=outputs,
        raw_durations_ns=durations,
    )


def peak_mb(memory: Memory | GenerationMemory) -> float | Unavailable:
    """The peak of a record, above the memory with the runtime imported, in MiB."""
    if memory["peak_rss"] is None or memory["rss_runtime_loaded"] is None:
        return Unavailable(unavailable=memory["source"])
    return (memory["peak_rss"] - memory["rss_runtime_loaded"]) / 2**20


def _check_outputs(paths: dict[str, Path], records: list[Output]) -> None:
    digests = {record["name"]: record["sha256"] for record in records}
    for name, path in paths.items():
        if name not in digests:
            raise DeviceFailed(f"the run is complete but has no output record of {name}, although outputs were asked for")
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no file"
        if digest != digests[name]:
            raise DeviceFailed(f"{path}: expected the outputs with SHA-256 {digests[name]}, found {digest}")


def _place(records: list[Record]) -> str:
    return f"its '{records[-1]['type']}' record" if records else "writing nothing"
