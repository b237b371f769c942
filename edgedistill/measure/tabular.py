"""Exports measurements for other programs: CSV and Parquet with one row each, JSON with the whole documents."""

import csv
from collections.abc import Sequence
from pathlib import Path

from pydantic import JsonValue

from edgedistill.errors import UserError
from edgedistill.files import replacing, write_json
from edgedistill.records.stored import Stored

_TEXT, _INTEGER, _REAL = "VARCHAR", "BIGINT", "DOUBLE"
_FETCHING = ("autoinstall_known_extensions", "autoload_known_extensions")
_LONGEST = ("generation", "by_prompt", -1)
"""Where the figures of the longest prompt are."""
COLUMNS: dict[str, tuple[str, tuple[str | int, ...]]] = {
    "id": (_INTEGER, ("id",)),
    "name": (_TEXT, ("name",)),
    "created": (_TEXT, ("created",)),
    "kind": (_TEXT, ("kind",)),
    "device": (_TEXT, ("device", "spec")),
    "model": (_TEXT, ("device", "model")),
    "soc": (_TEXT, ("device", "soc")),
    "os": (_TEXT, ("device", "os")),
    "abi": (_TEXT, ("device", "abi")),
    "build": (_TEXT, ("build",)),
    "file": (_TEXT, ("artifact", "name")),
    "format": (_TEXT, ("artifact", "format")),
    "precision": (_TEXT, ("artifact", "precision")),
    "bytes": (_INTEGER, ("artifact", "bytes")),
    "sha256": (_TEXT, ("artifact", "sha256")),
    "threads": (_INTEGER, ("threads",)),
    "preset": (_TEXT, ("protocol", "preset")),
    "validity": (_TEXT, ("validity",)),
    "reasons": (_TEXT, ("reasons",)),
    "p50_ms": (_REAL, ("latency_ms", "p50")),
    "p50_low_ms": (_REAL, ("intervals_ms", "p50", 0)),
    "p50_high_ms": (_REAL, ("intervals_ms", "p50", 1)),
    "p95_ms": (_REAL, ("latency_ms", "p95")),
    "p95_low_ms": (_REAL, ("intervals_ms", "p95", 0)),
    "p95_high_ms": (_REAL, ("intervals_ms", "p95", 1)),
    "p99_ms": (_REAL, ("latency_ms", "p99")),
    "p99_low_ms": (_REAL, ("intervals_ms", "p99", 0)),
    "p99_high_ms": (_REAL, ("intervals_ms", "p99", 1)),
    "samples": (_INTEGER, ("latency_ms", "n")),
    "steady": ("BOOLEAN", ("steady",)),
    "load_cold_ms": (_REAL, ("load_ms", "cold")),
    "load_warm_ms": (_REAL, ("load_ms", "warm")),
    "first_inference_ms": (_REAL, ("first_inference_ms",)),
    "peak_rss_mb": (_REAL, ("peak_rss_mb",)),
    "mj_per_inference": (_REAL, ("energy", "mj_per_inference")),
    "prompt_tokens": (_INTEGER, (*_LONGEST, "prompt_tokens")),
    "new_tokens": (_INTEGER, ("generation", "new_tokens")),
    "first_token_p50_ms": (_REAL, (*_LONGEST, "first_token", "latency_ms", "p50")),
    "next_token_p50_ms": (_REAL, (*_LONGEST, "next_token", "latency_ms", "p50")),
    "last_token_p50_ms": (_REAL, (*_LONGEST, "last_token", "latency_ms", "p50")),
    "prefill_tokens_per_s": (_REAL, (*_LONGEST, "prefill_tokens_per_s")),
    "decode_tokens_per_s": (_REAL, (*_LONGEST, "decode_tokens_per_s")),
    "mj_per_token": (_REAL, (*_LONGEST, "energy", "mj_per_token")),
    "ratio": (_REAL, ("ratio", "value")),
    "ratio_low": (_REAL, ("ratio", "interval", 0)),
    "ratio_high": (_REAL, ("ratio", "interval", 1)),
    "verdict": (_TEXT, ("verdict",)),
}
"""Each column: its SQL type, and the path of its value in a document."""


def export(measurements: Sequence[Stored], path: Path) -> None:
    """Write `measurements` to `path` in the format of its suffix: .csv, .json or .parquet. Unavailable values are empty or null.

    Raises UserError for another suffix.
    """
    writers = {".csv": _write_csv, ".json": _write_json, ".parquet": _write_parquet}
    if path.suffix.lower() not in writers:
        raise UserError(f"found '{path.name}' to export to, expected a name that ends with {', '.join(writers)}")
    writers[path.suffix.lower()]([measurement.model_dump(mode="json") for measurement in measurements], path)


def row(document: JsonValue) -> list[str | float | None]:
    """The values of `COLUMNS` in the JSON of a measurement; None if it lacks one."""
    return [_value(document, place) for _, place in COLUMNS.values()]


def _value(document: JsonValue, place: Sequence[str | int]) -> str | float | None:
    value = document
    for key in place:
        if isinstance(value, dict):
            value = value.get(str(key))
        elif isinstance(value, list):
            value = value[int(key)]
    if isinstance(value, list):
        return "; ".join(map(str, value))
    # A dict is an unavailable value with its reason.
    return None if isinstance(value, dict) else value


def _write_json(documents: Sequence[JsonValue], path: Path) -> None:
    write_json(path, list(documents))


def _write_csv(documents: Sequence[JsonValue], path: Path) -> None:
    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(COLUMNS)
        writer.writerows(row(document) for document in documents)


def _write_parquet(documents: Sequence[JsonValue], path: Path) -> None:
    import duckdb

    # Parquet is built in, so forbid DuckDB to download extensions.
    with replacing(path) as temporary, duckdb.connect(config=dict.fromkeys(_FETCHING, False)) as connection:
        connection.execute(f"CREATE TABLE measurements ({', '.join(f'{name} {kind}' for name, (kind, _) in COLUMNS.items())})")
        if documents:
            marks = ", ".join("?" * len(COLUMNS))
            connection.executemany(f"INSERT INTO measurements VALUES ({marks})", [row(document) for document in documents])
        connection.table("measurements").write_parquet(str(temporary))
