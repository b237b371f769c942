"""Tables without personal data: every text of every row, a row at a time. Rows that cannot be read are left out and counted."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from edgedistill.errors import UserError
from edgedistill.files import replacing
from edgedistill.teach.scrub.scrubbing import NotScanned, Scrubbing

SUFFIXES = (".jsonl", ".jsonl.gz", ".csv", ".csv.gz", ".parquet")


@dataclass
class Rows:
    """What became of the rows of a table, or of the files of a folder."""

    read: int = 0
    changed: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    """Those that were left out, by the reason."""


def scrub_table(path: Path, out: Path, scrubbing: Scrubbing, keep: Collection[str] = ()) -> Rows:
    """Write the table `path` without personal data to `out`, of the same format.

    keep: columns that are not read and stay as they are. Raises UserError for another format, and where names of columns have personal
    data, since then the table has no heading.
    """
    kind = _kind(path)
    if kind != _kind(out):
        raise UserError(f"{out}: found another format than that of {path.name}, expected {kind}")
    work = {".jsonl": _jsonl, ".csv": _csv, ".parquet": _parquet}[kind]
    with replacing(out) as temporary:
        return work(path, temporary, out.name.endswith(".gz"), scrubbing, keep)


def _kind(path: Path) -> str:
    name = path.name.lower().removesuffix(".gz")
    kind = next((suffix for suffix in (".jsonl", ".csv", ".parquet") if name.endswith(suffix)), None)
    if kind is None or (kind == ".parquet" and path.suffix.lower() == ".gz"):
        raise UserError(f"{path}: found a table of another format, expected {', '.join(SUFFIXES)}")
    return kind


@contextmanager
def _opened(path: Path, mode: str, packed: bool) -> Iterator[IO[str]]:
    with open(path, f"{mode}b") as raw:
        if packed:
            # Without name and time, so that equal rows give equal files.
            with gzip.GzipFile("", f"{mode}b", fileobj=raw, mtime=0) as unpacked, io.TextIOWrapper(unpacked, "utf-8", newline="") as text:
                yield text
        else:
            with io.TextIOWrapper(raw, "utf-8", newline="") as text:
                yield text


def _row(row: dict[str, Any], rows: Rows, scrubbing: Scrubbing, keep: Collection[str]) -> dict[str, Any] | None:
    """A row without personal data; None for one that could not be read, which is counted."""
    rows.read += 1
    try:
        made = {name: value if name in keep else scrubbing.value(value, name) for name, value in row.items()}
    except NotScanned as error:
        rows.dropped[str(error)] += 1
        return None
    rows.changed += made != row
    return made


def _named(names: Collection[str], path: Path, scrubbing: Scrubbing) -> None:
    for name in names:
        if scrubbing.text(name) != name:
            raise UserError(f"{path}: found personal data among the names of columns, expected a heading; add one")


def _jsonl(path: Path, out: Path, packed: bool, scrubbing: Scrubbing, keep: Collection[str]) -> Rows:
    rows = Rows()
    names = set[str]()
    with _opened(path, "r", path.suffix.lower() == ".gz") as read, _opened(out, "w", packed) as write:
        for line in read:
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            if not isinstance(row, dict):
                rows.read += 1
                rows.dropped["no JSON object"] += 1
                continue
            _named(row.keys() - names, path, scrubbing)
            names |= row.keys()
            if (made := _row(row, rows, scrubbing, keep)) is not None:
                write.write(json.dumps(made, ensure_ascii=False) + "\n")
    return rows


def _csv(path: Path, out: Path, packed: bool, scrubbing: Scrubbing, keep: Collection[str]) -> Rows:
    rows = Rows()
    with _opened(path, "r", path.suffix.lower() == ".gz") as read, _opened(out, "w", packed) as write:
        reader = csv.DictReader(read, restkey=None, strict=True)
        names = reader.fieldnames or []
        _named(names, path, scrubbing)
        writer = csv.DictWriter(write, names, lineterminator="\n")
        writer.writeheader()
        for row in reader:
            if len(row) != len(names) or None in row or None in row.values():
                rows.read += 1
                rows.dropped["another number of cells"] += 1
            elif (made := _row(row, rows, scrubbing, keep)) is not None:
                writer.writerow(made)
    return rows


def _parquet(path: Path, out: Path, packed: bool, scrubbing: Scrubbing, keep: Collection[str]) -> Rows:
    import pyarrow as pa
    from pyarrow import parquet

    rows = Rows()
    with parquet.ParquetFile(path) as file:
        # What Pandas and others wrote beside the columns may hold anything.
        schema = file.schema_arrow.remove_metadata()
        _named(schema.names, path, scrubbing)
        with parquet.ParquetWriter(out, schema) as writer:
            for batch in file.iter_batches(4096):
                made = [row for each in batch.to_pylist() if (row := _row(each, rows, scrubbing, keep)) is not None]
                columns = [_column(pa, [row[one.name] for row in made], one.type) for one in schema]
                writer.write_table(pa.table(columns, schema=schema))
    return rows


def _column(pa: Any, values: list[Any], kind: Any) -> Any:
    """Values as a column; a number that was replaced by a pseudonym becomes null, since the column holds no texts."""
    try:
        return pa.array(values, type=kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if isinstance(value, str) else value for value in values], type=kind)
