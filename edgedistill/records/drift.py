"""What answers were like when a model was made, and how those of devices differ from that."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgedistill.records.base import Record, Unavailable
from edgedistill.records.results import Interval
from edgedistill.records.router import Share
from edgedistill.records.verdicts import Status

Advice = Literal["stable", "watch", "retrain"]


class Distribution(Record):
    """Many numbers, in few."""

    n: int
    mean: float
    values: list[float] = Field(description="Quantiles, rising: about 50 of confidences, 20 of features.")
    shares: list[float] = Field(description="The share of the numbers that are at most each of `values`.")
    edges: list[float] = Field(description="Upper ends of bins with about as many numbers; the last bin has none.")
    counts: list[int] = Field(description="Numbers in each bin.")


class Answered(Distribution):
    """Confidences and decisions of many answers, and features of their requests, in few numbers."""

    decided: dict[str, int] = Field({}, description="How often each decision was made, by its name; empty where nothing is decided.")
    features: dict[str, Distribution | dict[str, int]] = Field(
        {}, description="What was known of the requests without a model: numbers, or how often each text came."
    )


class Reference(Record):
    """The entry `reference` of a bundle's manifest: the answers on val."""

    by: str = Field(description="The measure of confidence.")
    decisions: list[str] = Field(description="The names of decisions, in the order of their numbers.")
    artifacts: dict[str, Answered] = Field(description="By the name of the file that answered.")


class DriftTest(Record):
    """A test that traces are of the same distribution as the reference."""

    name: str = Field(description='What was tested, and how, as "confidence: Kolmogorov-Smirnov" or "input tokens: stability".')
    statistic: float = Field(description="The largest difference of the distributions, or the population stability index less its bias.")
    interval: Interval | Unavailable = Field(description="Of the statistic, 95%.")
    p: float = Field(description="The p-value.")
    adjusted: float = Field(description="The p-value for all tests together (Holm 1979).")
    drifted: bool = Field(description="Whether `adjusted` is at most `alpha`.")


class DecisionShift(Record):
    """The share of a decision in the reference and in the traces."""

    decision: str
    reference: float
    traces: float


class InputShift(Record):
    """A feature of the requests in the reference and in the traces."""

    feature: str
    reference: float | None = Field(description="Its mean; null for texts.")
    traces: float | None
    drifted: bool = Field(description="Whether a test says so.")


class DriftDocument(Record):
    """What `monitor` prints."""

    document: Literal["edgedistill/drift/1"] = Field("edgedistill/drift/1", alias="schema")
    source: str = Field(description="The run, the bundle, or the file of earlier traces.")
    traces: str
    artifact: str | None = Field(description="The file whose answers are the reference; null for earlier traces.")
    by: str | None = Field(description="The measure of confidence; null for earlier traces.")
    status: Status = Field(description="check_failed where `advice` is retrain.")
    advice: Advice = Field(
        description="retrain: a distribution drifted, and its stability index is at least `limit`; watch: it drifted less; else stable."
    )
    alpha: float = Field(description="How often traces that did not drift are said to have drifted, at most.")
    limit: float
    n: int = Field(description="Traces.")
    n_reference: int
    mean: float = Field(description="Mean confidence of the traces.")
    mean_reference: float
    tests: list[DriftTest]
    shifts: list[DecisionShift] = Field(description="The decisions whose shares differ most, the largest difference first.")
    inputs: list[InputShift] = Field([], description="The features of requests that were compared, those that drifted first.")
    sent: Share | Unavailable = Field(description="Traces that the router sends to the teacher.")
