"""What of a teaching set stands in a holdout as well."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgedistill.records.base import Record
from edgedistill.records.verdicts import Status


class Alike(Record):
    """A sample and the one of the kept set that it is most alike; both by number, from 0, never by their content."""

    sample: int
    kept: int
    kind: Literal["same", "near", "part"]
    likeness: float = Field(description="1 for the same; else what texts share of their shingles, or the correlation of images.")


class Overlap(Record):
    """How many samples are alike to one of a kept set; each counts once, by its best fellow."""

    samples: int = Field(description="Samples that were looked up.")
    kept: int = Field(description="Samples in which they were looked up.")
    same: int = Field(description="Equal: texts but for case, blanks, punctuation and Unicode forms, images in every pixel.")
    near: int = Field(description="Nearly the same.")
    part: int = Field(description="A part of the other, as a crop of an image or a passage of a text.")
    parts: bool = Field(description="Whether parts were looked for in all samples; of many images no crops are.")
    examples: list[Alike] = Field(description="The first ones, by number.")


class SplitOverlap(Overlap):
    """Samples of earlier splits that stand in a later one."""

    split: Literal["val", "holdout"] = Field(description="The later split; earlier ones are train, and val for the holdout.")


class Leakage(Record):
    """What the step `data` of a run found, in its file leakage.json."""

    mode: Literal["remove", "report"]
    removed: int = Field(description="Samples that were removed from train and val.")
    splits: list[SplitOverlap]


class LeakageDocument(Record):
    """What `leakage` prints."""

    document: Literal["edgedistill/leakage/1"] = Field("edgedistill/leakage/1", alias="schema")
    status: Status = Field(description="check_failed where a sample was found.")
    train: str
    holdout: str
    kind: Literal["texts", "images"]
    columns: list[str] = Field(description="Columns of tables that were compared; empty for images.")
    overlap: Overlap
