"""What came of executing an artifact, and of holding its outputs against a reference."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, JsonValue

from edgedistill.records.base import Record, Unavailable

Status = Literal["ok", "check_failed", "runtime_failed"]


class Latency(Record):
    """Percentiles of the durations of single inferences, in milliseconds."""

    left_out: ClassVar[tuple[str, ...]] = ("p90", "average")

    p50: float | Unavailable
    p90: float | Unavailable | None = Field(None, description="Given where MLPerf's rules judge by it.")
    p95: float | Unavailable
    p99: float | Unavailable
    average: float | Unavailable | None = Field(None, description="Given where another program measured.")
    n: int | Unavailable = Field(description="Number of samples.")


class Load(Record):
    """Time of the first load in a process and of a later one, in milliseconds."""

    cold: float | Unavailable
    warm: float | Unavailable


class Execution(Record):
    """What came of running an artifact: who executed it and what was measured, or why nothing could, or how it failed."""

    left_out: ClassVar[tuple[str, ...]] = ("unavailable", "error", "executed_by")

    unavailable: str | None = Field(None, description="Why nothing on this machine executes the file.")
    error: str | None = Field(None, description="How the runtime failed.")
    executed_by: str | None = Field(None, description="Who executed it: own_runtime, or an interpreter such as mil_float64.")
    versions: dict[str, str] = Field({}, description="Versions of the packages that executed it.")
    facts: dict[str, JsonValue] = Field({}, description="The machine.")
    load_ms: Load | None = None
    first_inference_ms: float | None = None
    latency_ms: Latency | None = None
    median_interval_ms: tuple[float, float] | None = None
    steady: bool | None = None
    peak_rss_mb: float | Unavailable | None = None
    peak_rss_source: str | None = None
    threads: int | None = None

    @property
    def ran(self) -> bool:
        """Whether the artifact was executed to its end."""
        return self.unavailable is None and self.error is None


class Comparison(Record):
    """Outputs held against those of a reference, by a rule. Differences of integers are counted in LSB, the size of one step."""

    left_out: ClassVar[tuple[str, ...]] = (
        "reason", "close", "max_lsb", "mean_lsb", "within_1_lsb",
        "within_2_lsb", "exact", "max_abs", "relative", "of_rounding", "flips",
    )  # fmt: skip

    ok: bool | None
    reason: str | None = Field(None, description="Why the outputs could not be compared.")
    close: bool | None = Field(None, description="Whether the rule holds but for flips.")
    max_lsb: float | None = None
    mean_lsb: float | None = None
    within_1_lsb: float | None = Field(None, description="Share of the outputs.")
    within_2_lsb: float | None = Field(None, description="Share of the outputs.")
    exact: float | None = Field(None, description="Share of the outputs that are equal.")
    max_abs: float | None = Field(None, description="Largest difference.")
    relative: float | None = Field(None, description="Largest difference as a share of the largest number of the reference.")
    of_rounding: float | None = Field(
        None, description="RMS difference over the RMS of what rounding activations changes; 1.4 where the two are independent."
    )
    flips: int | None = Field(None, description="Samples for which another decision is made; missing where nothing is decided.")
    n: int = Field(description="Number of samples.")
    rule: str


class Parity(Comparison):
    """An artifact held against its reference. Of several outputs the fields are those of the worst one, which `output` names."""

    left_out = (*Comparison.left_out, "output", "outputs")

    reference: str = Field(description="Rung that the artifact is held to.")
    output: str | None = None
    outputs: dict[str, Comparison] | None = Field(None, description="Each of several outputs by its name.")
