"""What `edgedistill scrub` prints, and what a run says of personal data: counts, and never a value."""

from __future__ import annotations

from pydantic import Field

from edgedistill.records.base import Record


class PersonalData(Record):
    """What was found in the texts of a run, and replaced before anything read them."""

    engine: str = Field(description="What found personal data.")
    found: dict[str, int] = Field(description="Values that were replaced, by kind.")
    values: dict[str, int] = Field(description="Different ones of them.")
    dropped: dict[str, int] = Field(description="Rows that could not be read and are not taught, by the reason.")


class Scrubbed(Record):
    """What was found and replaced in a table, or removed from a folder of images."""

    source: str = Field(description="The table or folder that was read.")
    out: str = Field(description="What was written.")
    engine: str | None = Field(description="What found personal data in texts; null for images.")
    rows: int = Field(description="Rows of a table, or files of a folder, that were read.")
    changed: int = Field(description="Of them those that are written in another way than they were.")
    dropped: dict[str, int] = Field(description="Of them those that could not be read and are not written, by the reason.")
    texts: int = Field(description="Texts in the rows.")
    found: dict[str, int] = Field(description="Values that were replaced, by kind.")
    values: dict[str, int] = Field(description="Different ones of them.")
