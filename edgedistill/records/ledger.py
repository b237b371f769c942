"""What the commands of the ledger of teaching sets print."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from edgedistill.records.base import Record
from edgedistill.records.verdicts import Status


class LedgerCheck(Record):
    """What `ledger verify` found."""

    ledger: str = Field(description="Its folder.")
    status: Status = Field(description="check_failed where anything is not what was appended.")
    rows: int
    segments: int
    head: str = Field(description="The link of the last row. Keep it elsewhere: `--head` compares the ledger with it later.")
    problems: list[str] = Field(description="What is not as it was appended, the first in the chain first.")
    row: int | None = Field(description="The first row that is not as it was appended; null where there is none, or none that is known.")
    seconds: float


class TaughtSet(Record):
    """A set of examples that were taught together."""

    row: int = Field(description="Its number in the ledger.")
    splits: dict[str, int] = Field(description="Number of its examples in each split.")
    facts: dict[str, Any] = Field(description="Source, licence, transformations, filters, teachers and more.")
    time: str = Field(description="When it was appended, UTC.")
    runs: list[str] = Field(description="The runs that learned it.")


class Entry(Record):
    """A row of an example."""

    row: int
    set: int = Field(description="The row of its set.")
    place: int = Field(description="Its number among the samples of the run, from 0.")
    split: str
    time: str = Field(description="When it was taught, or its answer was written, UTC.")
    removed: str | None = Field(description="When the example was removed, UTC; null where it was not.")


class LedgerExample(Record):
    """What `ledger show` says of one example."""

    ledger: str
    example: str = Field(description="The keyed hash of its content, hexadecimal.")
    entries: list[Entry]
    sets: list[TaughtSet] = Field(description="The sets that it stands in.")
    runs: list[str] = Field(description="The runs that learned it.")


class LedgerSummary(Record):
    """What `ledger show` says of a ledger."""

    ledger: str
    rows: int
    examples: int = Field(description="Rows of examples; one that stands in several sets has several.")
    removed: int
    head: str = Field(description="The link of the last row.")
    sets: list[TaughtSet]


class Removal(Record):
    """What `ledger remove` did."""

    ledger: str
    status: Literal["ok"] = "ok"
    example: str = Field(description="The keyed hash of its content, which stays as the record of the removal.")
    row: int | None = Field(description="The row of the removal; null where nothing was done yet (--dry-run).")
    runs: list[str] = Field(description="The runs that learned it. Those that are still there have to be made again.")
    erased: list[str] = Field(description="Files and folders that held the example or what came of it, and were removed.")
    answers: int = Field(description="Recorded answers of teachers that were removed.")
