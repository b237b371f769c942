"""The index of a repository of updates: which bundle an app should have."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgedistill.records.base import Record

UPDATES = "edgedistill/updates/1"
INDEX_FILE = "index.json"
INDEX_SIGNATURE = "index.sig"


class Delta(Record):
    """What makes the .zip of a release of that of an older one: zstd, with the older .zip as prefix (`zstd --patch-from`)."""

    base: str = Field(description="SHA-256 of the older .zip.")
    file: str = Field(description="Path in the repository.")
    sha256: str
    bytes: int


class Release(Record):
    """A bundle that was published."""

    number: int = Field(ge=1, description="1 for the first release; the newest has the largest.")
    file: str = Field(description="Path of the .zip in the repository.")
    sha256: str
    bytes: int
    percent: float = Field(ge=0, le=100, description="Share of the installations that get it.")
    minimum_app: str | None = Field(None, description="Oldest version of the app that can use it.")
    withdrawn: bool = Field(False, description="Whether installations that have it go back to an older one.")
    deltas: list[Delta] = Field([], description="From older releases.")


class Index(Record):
    """Every release of a bundle for one target."""

    document: Literal["edgedistill/updates/1"] = Field("edgedistill/updates/1", alias="schema")
    serial: int = Field(ge=1, description="Grows with each change; a client refuses an index with a smaller one than it saw.")
    name: str
    target: str
    releases: list[Release] = Field(description="The oldest first.")
