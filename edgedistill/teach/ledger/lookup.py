"""What a ledger says of a set, an example and a run."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from edgedistill.errors import UserError
from edgedistill.records.ledger import Entry, LedgerExample, LedgerSummary, TaughtSet
from edgedistill.tasks.data import SPLITS
from edgedistill.teach.ledger.chain import START
from edgedistill.teach.ledger.ledger import Ledger, as_text, halves

_OF_EXAMPLE = "example_high = ? AND example_low = ?"
_SETS = "SELECT row, text, time_ms FROM ledger WHERE kind = 'set' ORDER BY row"


def example(ledger: Ledger, name: bytes, *, known: bool = True) -> LedgerExample:
    """All rows of the example that is known by the hash `name`. Raises UserError where there is none, and it has to be `known`."""
    query = (
        f"SELECT row, kind, about, place, split, time_ms FROM ledger WHERE {_OF_EXAMPLE} AND kind IN ('example', 'removed') ORDER BY row"
    )
    rows = ledger.select(query, _values(name))
    if known and not rows:
        raise UserError(f"found no example {name.hex()} in {ledger.folder}")
    removed = next((utc(row[5]) for row in rows if row[1] == "removed"), None)
    entries = [
        Entry(row=row, set=about, place=place, split=_split(split), time=utc(time_ms), removed=removed)
        for row, kind, about, place, split, time_ms in rows
        if kind == "example"
    ]
    found = sets(ledger, {entry.set for entry in entries})
    runs = sorted({run for one in found for run in one.runs})
    return LedgerExample(ledger=str(ledger.folder), example=name.hex(), entries=entries, sets=found, runs=runs)


def example_of(ledger: Ledger, row: int) -> bytes:
    """The hash of the example in a row. Raises UserError where the row is none of an example."""
    found = ledger.select("SELECT kind, example_high, example_low FROM ledger WHERE row = ?", [row])
    if not found or found[0][0] not in ("example", "removed"):
        kind = f"a row of the kind {found[0][0]}" if found else "not there"
        raise UserError(f"row {row} of {ledger.folder} is {kind}, expected an example")
    return b"".join(int(half).to_bytes(8) for half in found[0][1:])


def at(ledger: Ledger, run: str, place: int) -> bytes:
    """The hash of the sample with the number `place` of the data that a run learned last. Raises UserError where there is none."""
    own = [use for use in uses(ledger) if use.run == run and not use.written]
    learned = [use.set for use in own if use.data == own[-1].data]
    query = f"SELECT row FROM ledger WHERE kind = 'example' AND place = ? AND about IN ({_marks(learned)}) LIMIT 1"
    found = ledger.select(query, [place, *learned]) if learned else []
    if not found:
        raise UserError(f"found no sample {place} of a run {run} in {ledger.folder}; `edgedistill ledger show` lists sets and runs")
    return example_of(ledger, found[0][0])


@dataclass(frozen=True)
class Use:
    """A run that learned a set."""

    set: int
    run: str
    data: str
    """SHA-256 of the samples that the set is part of, as they were prepared."""
    written: bool
    """Whether a teacher wrote the set."""


def uses(ledger: Ledger) -> list[Use]:
    """What runs learned, in the order in which they did."""
    return [
        Use(about, **json.loads(text)) for about, text in ledger.select("SELECT about, text FROM ledger WHERE kind = 'used' ORDER BY row")
    ]


def sets(ledger: Ledger, rows: Collection[int] | None = None) -> list[TaughtSet]:
    """The sets with the numbers `rows`, or all, in their order."""
    runs: dict[int, set[str]] = {}
    for use in uses(ledger):
        runs.setdefault(use.set, set()).add(use.run)
    described = [(row, json.loads(text), time_ms) for row, text, time_ms in ledger.select(_SETS) if rows is None or row in rows]
    return [
        TaughtSet(row=row, splits=facts.pop("splits", {}), facts=facts, time=utc(time_ms), runs=sorted(runs.get(row, [])))
        for row, facts, time_ms in described
    ]


def set_of(ledger: Ledger, facts: Mapping[str, Any]) -> int | None:
    """The row of the set with these facts; None where there is none."""
    found = ledger.select("SELECT row FROM ledger WHERE kind = 'set' AND text = ?", [as_text(facts)])
    return found[0][0] if found else None


def summary(ledger: Ledger) -> LedgerSummary:
    """How many rows there are, and all sets."""
    counts = dict(ledger.select("SELECT kind, count(*) FROM ledger GROUP BY kind"))
    listed = ledger.segments()
    return LedgerSummary(
        ledger=str(ledger.folder), rows=sum(counts.values()), examples=counts.get("example", 0), removed=counts.get("removed", 0),
        head=listed[-1].link if listed else START.hex(), sets=sets(ledger),
    )  # fmt: skip


def removed(ledger: Ledger) -> dict[bytes, str]:
    """When each example was removed, UTC, by its hash."""
    rows = ledger.select("SELECT example_high, example_low, time_ms FROM ledger WHERE kind = 'removed'")
    return {high.to_bytes(8) + low.to_bytes(8): utc(time_ms) for high, low, time_ms in rows}


def utc(time_ms: int) -> str:
    """A time as records have it, ISO 8601."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")


def _values(name: bytes) -> list[Any]:
    return halves([name])[0].tolist()  # type: ignore[no-any-return]


def _split(number: int) -> str:
    return SPLITS[number] if 0 <= number < len(SPLITS) else "none"


def _marks(values: Collection[Any]) -> str:
    return ", ".join("?" * len(values))
