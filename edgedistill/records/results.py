"""Everything known of one artifact: what it is, what it answered, how its runtime divides the work, what it costs."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field, computed_field

from edgedistill.records.artifacts import ArtifactSpec
from edgedistill.records.base import Record, Unavailable
from edgedistill.records.generation import Generation
from edgedistill.records.verdicts import Comparison, Latency, Load, Parity

Interval = tuple[float, float]
"""Both ends of a 95% interval."""


class Score(Record):
    """The primary metric of a split, such as the accuracy, with its 95% interval."""

    left_out = ("correct",)

    value: float
    correct: int | None = Field(None, description="Number of samples that are right, where a sample is right or wrong.")
    n: int
    interval: Interval


class Scores(Record):
    """The score of a rung or artifact on each split."""

    val: Score | Unavailable
    holdout: Score | Unavailable


class Disagreement(Record):
    """How far two teachers disagree on `n` samples of val."""

    a: str
    b: str
    n: int
    share: float | Unavailable = Field(description="Share of the samples on which they decide differently.")
    further: dict[str, float] = Field({}, description="Further figures, by what they are.")


class OutputError(Record):
    """How far one output is from that of the model in floating point."""

    model_config = ConfigDict(frozen=True)

    largest: float | None = Field(
        description="Largest difference, as a share of the range; null where a value is not finite, or the output constant and not met."
    )
    mean: float | None = Field(description="Mean difference, as a share of the range.")
    range: float = Field(description="Largest value less the smallest; the magnitude of a constant.")
    worst: int | None = Field(
        description="Number, in the data, of the sample with the largest difference or a value that is not finite; null for none."
    )
    snr_db: float | None = Field(
        description="Signal-to-noise ratio in dB, 10 log10 of the mean square of the output over that of the difference; null for none."
    )
    not_finite: int = Field(description="Values that are NaN or infinite on one side only.")
    n: int = Field(description="Number of samples.")


class Divergence(Record):
    """The first layer at which an int8 artifact leaves its reference."""

    left_out = ("operator", "lsb", "computed", "parity", "note", "reason")

    cuts: int = Field(description="Places at which the program can be cut.")
    lowered: int = Field(description="Prefixes that were lowered and run.")
    samples: int
    layer: str | None = Field(description="None where no layer differs on its own.")
    operator: str | None = None
    lsb: float | None = None
    computed: list[str] = Field([], description="Operators since the place before, each with its layer: one of them differs.")
    parity: Comparison | Unavailable | None = Field(None, description="The comparison there.")
    note: str | None = None
    reason: str | None = Field(None, description="Why no layer was found.")


class Layer(Record):
    """A layer of a file, who computes it (None where it is left to slower kernels, or the device decides), and what it costs."""

    name: str
    operator: str
    delegate: str | None
    macs: int | Unavailable
    bytes: int = Field(description="Of its weights.")
    activation_bytes: int | Unavailable = Field(description="Of its result.")


class Fallback(Record):
    """An operator that the accelerated kernels leave, how often, in which layers (20 at most), and why."""

    operator: str
    count: int
    layers: list[str]
    why: str


class Delegation(Record):
    """Who computes the operators of a file."""

    partitions: int = Field(description="Parts that the delegate takes.")
    outside: dict[str, int] = Field(description="Operators that it does not take, with their number.")
    operators: dict[str, dict[str, int]] = Field(description="By who computes them.")
    fallbacks: list[Fallback]
    transposes: dict[str, int] = Field(description="What only changes the order of dimensions.")
    layers: list[Layer]
    macs: int | Unavailable
    bytes: int = Field(description="Of all weights.")


class UnknownDelegation(Unavailable):
    """The operators and layers of a file for a runtime that does not tell who computes them."""

    operators: dict[str, dict[str, int]]
    layers: list[Layer]
    macs: int | Unavailable
    bytes: int = Field(description="Of all weights.")


class Budget(Record):
    """A limit that targets set for an artifact, and what was found."""

    budget: Literal["partitions", "fallbacks"]
    limit: int
    found: int | Unavailable
    ok: bool | None = Field(description="None where nothing was found.")
    targets: list[str]


class Quantization(Record):
    """A quantized artifact beside its floating-point twin."""

    twin: str = Field(description="The twin's file, or the student in PyTorch where there is none.")
    flips: int | Unavailable | None
    n: int
    difference: float | Unavailable = Field(description="Score less that of the twin.")
    interval: Interval | Unavailable = Field(description="95% interval of the difference.")
    bytes_ratio: float | Unavailable = Field(description="Its bytes over the twin's.")
    speedup: float | Unavailable = Field(description="The twin's median latency over its own.")
    advice: str | None = Field(description="What to ship instead where it is slower.")
    loses: bool = Field(False, description="Whether it loses more of the score than is tolerated, beyond doubt.")


class Pair(Comparison):
    """Two int8 artifacts against each other."""

    a: str
    b: str
    difference: float | Unavailable = Field(description="Score of a less that of b.")
    interval: Interval | Unavailable = Field(description="95% interval of the difference.")


class ArtifactResult(ArtifactSpec):
    """Everything known of one artifact."""

    left_out = ("sizes", "divergence", "quantization", "peak_rss_source", "steady", "latency_interval_ms", "threads", "generation")

    bytes: int
    sha256: str
    export_seconds: float
    packages: dict[str, str] = Field({}, description="Versions of what made it.")
    score: Scores
    delegation: Delegation | UnknownDelegation | Unavailable
    budgets: list[Budget]
    executed_by: str = Field(description="Who executed it: own_runtime, an interpreter such as mil_float64, or unavailable.")
    ok: bool | None = Field(description="None where it was not executed.")
    runtime: dict[str, str]
    parity: Parity | Unavailable
    outputs: dict[str, OutputError] | Unavailable = Field(description="Each output against that of the model in floating point.")
    divergence: Divergence | None = None
    load_ms: Load | Unavailable
    first_inference_ms: float | Unavailable
    latency_ms: Latency | Unavailable
    latency_interval_ms: Interval | None = None
    peak_rss_mb: float | Unavailable
    peak_rss_source: str | None = None
    generation: Generation | Unavailable | None = Field(None, description="What new tokens take, of a file that keeps a state.")
    steady: bool | None = None
    threads: int | None = None
    quantization: Quantization | None = None

    @computed_field(description="Within the run's folder.")  # type: ignore[prop-decorator]
    @property
    def path(self) -> str:
        """Path of the file, within the run's folder."""
        return super().path
