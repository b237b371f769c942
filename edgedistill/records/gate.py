"""The release card: what the gate decided about the files of a run, by which figures; and the log of openings of the holdout."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue

from edgedistill.records.base import Record, Unavailable
from edgedistill.records.metric import Metric, Words
from edgedistill.records.results import Scores
from edgedistill.records.verdicts import Status

CARD_FILE = "release-card.json"
CARD_SIGNATURE_FILE = "release-card.sig"
CARD_PAGE = "release-card.html"
CARD_FILES = (CARD_FILE, CARD_PAGE, CARD_SIGNATURE_FILE)

Sense = Literal["at most", "at least", "kept"]
Unit = Literal["points", "share", "MB", "ms", "mJ", "times", "pairs", ""]


class Opening(Record):
    """The holdout was scored: a line of the log in the folder of the runs."""

    time: str = Field(description="UTC time.")
    run: str = Field(description="Name of the run.")
    who: str = Field(description="The user of the machine.")
    recipe_sha256: str = Field(description="Of the effective recipe.")
    rules_sha256: str = Field(description="Of its gate part.")
    data_sha256: str = Field(description="Of the samples and their splits.")
    previous: str = Field(description="SHA-256 of the line before; empty for the first.")


class Openings(Record):
    """How often the holdout of these data was opened."""

    log: str = Field(description="The file.")
    entries: list[Opening] = Field(description="By all runs of the folder, oldest first.")
    warnings: list[str] = Field(description="What a reader should know of them.")


class SliceFigure(Record):
    """The drop on one slice."""

    left_out = ("bound", "ok")

    slice: str
    n: int
    value: float
    bound: float | None = Field(None, description="Upper bound; missing where the slice has too few samples to be judged.")
    ok: bool | None = None


class Source(Record):
    """A file of other evidence than the run's own steps, as it was when the gate read it."""

    path: str
    sha256: str
    time: str = Field(description="UTC time at which what it says was measured; empty where the file does not tell.")


class Check(Record):
    """One rule on one file."""

    left_out = ("part", "bound", "n", "slices", "source")

    rule: str = Field(description="The field of the recipe that sets it, such as gate.drop.")
    title: str
    file: str
    part: str | None = Field(None, description="The slice, device or teacher that the figure is of.")
    value: float | Unavailable
    bound: float | None = Field(None, description="What is held to the limit, where it is not the value itself.")
    limit: float | None = Field(description="None where the rule is kept or not.")
    sense: Sense = Field(description="On which side of the limit value or bound have to be.")
    unit: Unit = Field(description="Points are differences of a share; 0.01 is one point.")
    n: int | None = None
    ok: bool | None = Field(description="None where the figure is unavailable and may be.")
    how: str = Field(description="How it was measured.")
    slices: list[SliceFigure] | None = None
    source: Source | None = Field(None, description="Where it was read, of rules on the baseline, the shadow phase and reviews.")


class GatedFile(Record):
    """A file that was gated."""

    name: str
    format: str
    precision: str
    bytes: int
    sha256: str
    targets: list[str]
    executed_by: str
    runtime: dict[str, str] = Field(description="Versions of what executed it.")
    score: Scores
    ok: bool


class CardRecipe(Record):
    """The recipe of the run."""

    path: str
    sha256: str
    effective_sha256: str
    rules: dict[str, JsonValue] = Field(description="Its gate part, every field with its value.")
    rules_sha256: str


class CardData(Record):
    """The samples."""

    source: str
    sha256: str
    splits: dict[str, int]


class Reference(Record):
    """What a drop is measured from."""

    name: str
    model: str
    score: Scores | Unavailable


class ReleaseCard(Record):
    """What may ship, by which figures, how each was measured, and what was unavailable."""

    document: Literal["edgedistill/release-card/1"] = Field("edgedistill/release-card/1", alias="schema")
    name: str
    run: str
    command: str
    status: Status
    created: str = Field(description="UTC time.")
    task: str
    metric: Metric
    words: Words
    confidence: float = Field(description="Of each bound, one-sided.")
    recipe: CardRecipe
    data: CardData
    reference: Reference
    state_sha256: str | None = Field(description="Of the quantized state; null where there is none.")
    files: list[GatedFile]
    checks: list[Check]
    failed: list[str] = Field(description="What failed, a sentence each.")
    holdout: Openings
    licenses: dict[str, str | None]
    environment: dict[str, JsonValue]


class Gated(Record):
    """What `gate` prints: the decision, and where the card is."""

    left_out = ("signature",)

    run: str
    status: Status
    file: str = Field(description="The card.")
    page: str = Field(description="The same as an HTML page.")
    signature: str | None = Field(None, description="Of the card, by Ed25519; missing where no key was given.")
    card: ReleaseCard
