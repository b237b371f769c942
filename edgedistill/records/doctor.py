"""What works on a machine, what is missing, and how to get it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgedistill.records.base import Record

State = Literal["ok", "missing", "unusable"]


class Row(Record):
    """One thing that edgedistill uses here, such as a package, a runtime or the memory."""

    name: str
    status: State = Field(description="An unusable thing is there and does not work.")
    found: str = Field(description="What is there, or what is wrong with it.")
    needed_for: str
    get: str | None = Field(description="How to get it; null where it is ok.")
    required: bool = Field(description="Whether the default targets need it.")


class Diagnosis(Record):
    """What `doctor` prints: everything that edgedistill uses, and which of the required things are not ok."""

    status: Literal["ok", "runtime_failed"]
    failed: list[str] = Field(description="Names of the required rows that are not ok.")
    rows: list[Row]


def row(name: str, status: State, found: str, needed_for: str, get: str | None = None, *, required: bool = False) -> Row:
    """One row; `get` is left out where the thing is ok."""
    return Row(name=name, status=status, found=found, needed_for=needed_for, get=None if status == "ok" else get, required=required)
