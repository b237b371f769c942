"""Proves that a ledger is what was appended to it, byte by byte, or names the row that is not."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from edgedistill.errors import DamagedFile
from edgedistill.files import sha256_file
from edgedistill.records.ledger import LedgerCheck
from edgedistill.teach.ledger import chain, segments
from edgedistill.teach.ledger.chain import START
from edgedistill.teach.ledger.ledger import Ledger, Segment


@dataclass(frozen=True)
class _Problem:
    text: str
    row: int | None = None


def verify(ledger: Ledger, anchors: Mapping[str, str] = {}) -> LedgerCheck:
    """Hold every row to the chain, every file to its hash, and the list of files to what it would be.

    anchors: links that were noted elsewhere when they were the last one, hexadecimal, by who noted them: each has to be in the chain. Who
    rewrites the whole ledger, or cuts off its end, is found by them alone.
    """
    begun = time.monotonic()
    listed, problems = _listed(ledger)
    known = {START.hex()}
    before, first = START, 0
    for segment in listed:
        found, link = _segment(ledger, segment, first, before)
        problems += found
        # A segment that is not right is told once: the next ones are held to what the list says of it.
        before, first = bytes.fromhex(segment.link) if found else link, segment.first + segment.rows
        known.add(segment.link)
    for who, noted in anchors.items():
        if noted not in known:
            problems.append(_Problem(f"{who} noted the head {noted[:16]}, which is not in this ledger: rows were cut off or written anew"))
    rows = [problem.row for problem in problems if problem.row is not None]
    return LedgerCheck(
        ledger=str(ledger.folder),
        status="check_failed" if problems else "ok",
        rows=first,
        segments=len(listed),
        head=listed[-1].link if listed else START.hex(),
        problems=[problem.text for problem in problems],
        row=min(rows, default=None),
        seconds=time.monotonic() - begun,
    )


def _listed(ledger: Ledger) -> tuple[list[Segment], list[_Problem]]:
    """The segments that the list names, and what is wrong with the list and the key."""
    if not ledger.exists():
        left = [path.name for path in ledger.folder.glob("*.parquet")]
        return [], [_Problem(f"{ledger.head} is missing, and {left[0]} is there")] if left else []
    try:
        listed = ledger.segments()
        if ledger.head.read_text(encoding="utf-8") != json.dumps(ledger.document(listed), indent=2) + "\n":
            return listed, [_Problem(f"{ledger.head} is not what was written there")]
    except (DamagedFile, UnicodeDecodeError) as error:
        return [], [_Problem(str(error))]
    return listed, []


def _segment(ledger: Ledger, segment: Segment, first: int, before: bytes) -> tuple[list[_Problem], bytes]:
    """What is wrong with a segment, and the link of its last row."""
    path = ledger.folder / segment.file
    rows = f"rows {segment.first} to {segment.first + segment.rows - 1}"
    if segment.first != first:
        return [_Problem(f"{path.name} begins with row {segment.first}, expected row {first}", first)], before
    if not path.is_file():
        return [_Problem(f"{path} is missing, with {rows}", first)], before
    try:
        return _rows(path.name, segment, before, *segments.read(path), changed=sha256_file(path) != segment.sha256)
    except DamagedFile as error:
        return [_Problem(f"{rows}: {error}", first)], before


def _rows(
    name: str, segment: Segment, before: bytes, columns: dict[str, np.ndarray], texts: dict[int, str], links: np.ndarray, *, changed: bool
) -> tuple[list[_Problem], bytes]:
    """The same, of the rows that were read. changed: the file is not the one that was written."""
    found = chain.links(columns, texts, before)
    last = found[-1].tobytes() if len(found) else before
    if wrong := next(_wrong(segment, columns, found, links), None):
        return [wrong], last
    if changed or last.hex() != segment.link:
        what = "in the file around the rows" if changed else "in the list of segments"
        rows = f"rows {segment.first} to {segment.first + segment.rows - 1}"
        return [_Problem(f"{name}, {rows}: something was changed {what}", segment.first)], last
    return [], last


def _wrong(segment: Segment, columns: dict[str, np.ndarray], found: np.ndarray, links: np.ndarray) -> Iterator[_Problem]:
    """The first row that does not fit the chain."""
    unlike = np.flatnonzero(chain.stored(found) != links)
    if len(unlike):
        place = int(unlike[0])
        what = chain.KINDS[columns["kind"][place]] if 0 <= columns["kind"][place] < len(chain.KINDS) else "row"
        yield _Problem(f"row {segment.first + place} ({what}) is not what was appended", segment.first + place)
    elif len(links) != segment.rows:
        row = segment.first + min(len(links), segment.rows)
        yield _Problem(f"{segment.file} has {len(links)} rows, expected {segment.rows}", row)
