"""The summary of a run: every figure of the report."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field, JsonValue

from edgedistill.records.artifacts import NotLowered
from edgedistill.records.base import Record, Unavailable
from edgedistill.records.manifest import Ship
from edgedistill.records.metric import Metric, Words
from edgedistill.records.results import ArtifactResult, Disagreement, Interval, Pair, Scores
from edgedistill.records.sections import Section
from edgedistill.records.steps import Epoch, Sensitivity
from edgedistill.records.stored import AnyMeasurement
from edgedistill.records.verdicts import Status

SUMMARY = "edgedistill/summary/2"


class Rung(Record):
    """A rung of the ladder: a model or artifact, and its score."""

    left_out = ("format", "delegate")

    rung: str
    model: str
    precision: str
    executed_by: str
    score: Scores
    format: str | None = None
    delegate: str | None = None
    drop_from: str | None = Field(None, description="Rung that it was made from.")
    drop: float | None = Field(None, description="What of the val score it lost.")
    further: dict[str, float] = Field({}, description="Further scores on val, by name.")
    sets: dict[str, Scores] = Field({}, description="The score on each set of the data, by its name; empty where the data have one.")


class Verdict(Record):
    """Whether the teacher helped: the student against the control."""

    left_out = ("difference", "interval", "split", "n")

    outcome: Literal["helped", "no_difference", "hurt", "unavailable"]
    text: str
    difference: float | None = None
    interval: Interval | None = None
    split: str | None = None
    n: int | None = None


class Member(Record):
    """One of several teachers."""

    name: str
    model: str
    val: float | Unavailable | None = Field(description="Score on val.")
    weight: float | None = Field(None, description="Its weight in a mean; None without one.")


class Members(Record):
    """What was found out about the teachers, and about the set that they teach."""

    members: list[Member] = Field(alias="list")
    disagreement: list[Disagreement]
    teaching_set: dict[str, JsonValue] | None


class TeacherResult(Record):
    """The teacher, with the fields of its artifact where it was measured as one."""

    model_config = ConfigDict(extra="allow")

    name: str
    model: str
    parameters: int | Unavailable
    bytes: int | Unavailable
    score: Scores | None
    members: Members


class QuantizedState(Record):
    """The quantized state: its hash, the size of a step of each output, and what the outputs were divided by."""

    model_config = ConfigDict(extra="allow")

    sha256: str
    output_scale: dict[str, float]
    temperature: dict[str, float]


class RecipeRecord(Record):
    """The recipe that a run was made from."""

    path: str
    sha256: str
    effective_sha256: str
    effective: dict[str, JsonValue] = Field(description="Every field with its value.")


class LoweringCost(Record):
    """What the process that lowered a format took, its imports included."""

    seconds: float
    peak_rss_mb: float
    files: list[str] = Field(description="Each file with its own seconds.")


class ActivationRange(Record):
    """How an activation uses its int8 range."""

    name: str
    operator: str
    low: float
    high: float
    used: float = Field(description="Share of the levels between the 0.1% and 99.9% quantiles.")
    clipped: float = Field(description="Share of the values.")
    largest: float
    sample: int | None = Field(description="Sample of val that gave the largest; None for a constant.")
    problem: str | None


class Int8Ranges(Record):
    """The activations of the quantized state."""

    samples: int
    activations: int
    layers: list[ActivationRange] = Field(description="Those that waste levels or clip.")
    least_used: ActivationRange
    most_clipped: ActivationRange


class Float16Value(Record):
    """The largest value of a layer that computes in float16."""

    model_config = ConfigDict(extra="allow")

    name: str | None = None
    operator: str | None = None
    largest: float | Unavailable | None = None
    sample: int | None = None
    share: float | Unavailable | None = Field(None, description="Of 65504, the largest number of float16.")
    overflows: bool | None = None


class Float16Ranges(Record):
    """The values of a file that computes in float16."""

    samples: int
    layers: list[Float16Value] = Field(description="Those past a quarter of the range.")
    largest: Float16Value


class Ranges(Record):
    """What the scan of activations found."""

    int8: Int8Ranges | Unavailable
    float16: dict[str, Float16Ranges | Unavailable] = Field(description="By file.")


class Data(Record):
    """The samples, with what the task knows of them."""

    model_config = ConfigDict(extra="allow")

    source: str
    sha256: str
    splits: dict[str, int] = Field(description="Number of samples of each split.")
    described: list[str] = Field(description="What else a reader should know of them.")


class Summary(Record):
    """Every figure of the report of a run; also `summary.json` in its folder."""

    document: Literal["edgedistill/summary/2"] = Field("edgedistill/summary/2", alias="schema")
    name: str
    status: Status
    failed: list[str] = Field(description="What failed, a line each.")
    warnings: list[str]
    run: str
    command: str
    created: str = Field(description="UTC time.")
    seconds: dict[str, float] = Field(description="Time of each part.")
    environment: dict[str, JsonValue]
    task: str
    metric: Metric = Field(description="What scores are.")
    words: Words = Field(description="What the task calls its things.")
    recipe: RecipeRecord
    data: Data
    ladder: list[Rung]
    verdict: Verdict
    teacher: TeacherResult | None
    artifacts: list[ArtifactResult]
    not_lowered: list[NotLowered] = Field([], description="Files that were asked for and could not be made.")
    pairs: list[Pair]
    ranges: Ranges
    curves: dict[str, list[Epoch]]
    state: QuantizedState | None
    sensitivity: Sensitivity | Unavailable
    lowering: dict[str, LoweringCost] = Field(description="By format.")
    sections: list[Section] = Field(description="What only the task can tell.")
    devices: list[AnyMeasurement] = Field(description="What was measured on devices.")
    ship: dict[str, Ship] = Field({}, description="Which artifact of each target to ship, and why.")
    bundles: dict[str, str] = Field(description="Folder of each target's bundle.")
    report: str
