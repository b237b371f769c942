"""Which requests of a student go back to its teacher: the decision table that apps follow, and what it saves and misses."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgedistill.records.base import Record, Unavailable
from edgedistill.records.cost import Assumptions, Costs
from edgedistill.records.metric import Metric
from edgedistill.records.results import Interval
from edgedistill.records.verdicts import Status


class Rule(Record):
    """A rule of the decision table: the teacher is asked where a feature of the request is above or below a number."""

    of: str = Field(description="The feature, see docs/router.md.")
    above: float | None = None
    below: float | None = None


class RiskModel(Record):
    """How probable it is that an answer is wrong: the logistic function of the intercept and the weighted numbers.

    A measure of confidence c counts as ln((c + 0.0001) / (1.0001 - c)), a feature of the request as it is.
    """

    intercept: float
    measures: dict[str, float] = Field(description="Weights of the measures of confidence.")
    features: dict[str, float] = Field(description="Weights of the features of the request.")


class GoldenRoute(Record):
    """A made output, and what the decision table says of it; glue code is held to it."""

    outputs: dict[str, list[float]] = Field(description="The numbers of each output, by name.")
    features: dict[str, float] = Field({}, description="The features of the request that the table reads.")
    confidence: float
    teacher: bool = Field(description="Whether the teacher is asked, with the threshold `RouterTable.golden_threshold`.")


class RouterTable(Record):
    """The decision table: the teacher is asked where the decision is one of `always`, a rule of `when` holds, or the confidence is at most
    the threshold."""

    task: str
    by: str = Field(description="The confidence that counts, 0 for none and 1 for full; `risk` is 1 less what the model of the risk says.")
    always: list[int] = Field([], description="Decisions that always go to the teacher, by their number in the output.")
    when: list[Rule] = Field([], description="Rules by features of the request.")
    risk: RiskModel | None = Field(None, description="The model of the risk, where the confidence is by it.")
    thresholds: dict[str, float | None] = Field(description="By artifact; with null the teacher is always asked.")
    golden_threshold: float = Field(description="The threshold of the golden rows.")
    golden: list[GoldenRoute] = Field([], description="What the self-test of glue code compares its decisions with.")


class Share(Record):
    """A share of samples with its 95% interval."""

    value: float
    count: int
    n: int
    interval: Interval


class Risk(Record):
    """The mean loss of the samples that the student keeps: 1 less their score."""

    value: float
    bound: float = Field(description="What it exceeds with a probability of at most 1 - `confidence`.")
    confidence: float


class RiskPoint(Record):
    """A point of the risk-coverage curve."""

    coverage: float = Field(description="The share of the samples that the student keeps.")
    risk: float = Field(description="The mean loss of these.")
    confidence: float = Field(description="The smallest confidence among these.")


class RoutedScore(Record):
    """The score of the student alone, of the teacher alone, and of both with the router between them."""

    student: float
    teacher: float
    routed: float
    against_teacher: float = Field(description="The routed score less that of the teacher.")
    interval: Interval = Field(description="Of that difference, 95%.")


class RoutedArtifact(Record):
    """What the table does with the samples of val, by one artifact."""

    name: str
    sha256: str
    n: int
    threshold: float | None = Field(description="null where no threshold has the risk that was asked for: all goes to the teacher.")
    sent: Share = Field(description="Samples that go to the teacher: the share of its cost that stays.")
    risk: Risk | Unavailable
    score: RoutedScore | Unavailable
    by_rules: int = Field(0, description="Of the sent samples, those that `always` and `when` of the table send.")
    errors: int = Field(description="Samples on which the artifact alone is not wholly right.")
    caught: int = Field(description="Of these, the samples that are sent.")
    misses: int | Unavailable = Field(description="Samples that are kept where the artifact has a lower score than the teacher.")
    aurc: dict[str, float] = Field(description="The area under the risk-coverage curve by each confidence; less is better.")
    curve: list[RiskPoint]


class RouterCost(Record):
    """What requests cost without the student, and with the router, in `currency`. What the student costs beside that is in `cost`."""

    assumptions: Assumptions
    currency: str
    artifact: str = Field(description="The artifact whose share of sent samples counts.")
    teacher: Costs
    routed: Costs
    saved: Costs


class RouterDocument(Record):
    """What `route` prints, and writes to `router.json` of the run."""

    document: Literal["edgedistill/router/1"] = Field("edgedistill/router/1", alias="schema")
    run: str
    status: Status = Field("ok", description="check_failed where no artifact has a threshold for the risk.")
    metric: Metric
    against: Literal["targets", "teacher"] = Field(description="What losses are measured against: targets of the data, or the teacher.")
    rate: float | None = Field(description="The share that was to be sent; null where a risk was asked for.")
    risk: float | None = Field(description="The risk that was to be kept.")
    confidence: float
    decisions: list[str] = Field(description="The names of decisions, in the order of their numbers.")
    table: RouterTable
    artifacts: list[RoutedArtifact]
    unavailable: dict[str, str] = Field(description="Why there is nothing to say of other artifacts, by their name.")
    cost: RouterCost | Unavailable
