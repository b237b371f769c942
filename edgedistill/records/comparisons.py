"""Two files compared on a device, interleaved."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from edgedistill.records.base import Record, Unavailable
from edgedistill.records.measurements import Intervals, Measured, MeasuredFile, Ratio
from edgedistill.records.verdicts import Latency

Verdict = Literal["better", "worse", "no difference"]


class CompareProtocol(Record):
    """The settings of a comparison."""

    model_config = ConfigDict(frozen=True)

    preset: str
    block_s: float = Field(description="Length of a block of inferences of one side.")
    pairs: int = Field(description="Pairs of blocks in a round.")
    warmup_s: float = Field(description="Longest warm-up of a process.")
    relative_width: float = Field(description="Half-width of the ratio's interval at which the comparison stops.")
    max_s: float = Field(description="Longest time, except that `min_rounds` are always done.")
    min_rounds: int


class Rounds(Record):
    """The rounds of a comparison, each with new processes."""

    n: int
    ratios: list[float] = Field(description="B's duration divided by A's in each round.")


class SideFigures(Record):
    """What was measured of one side."""

    latency_ms: Latency
    intervals_ms: Intervals = Field(description="That of the median is over rounds.")
    load_ms: float
    first_inference_ms: float
    steady: float = Field(description="Share of the processes whose warm-up ended in a steady state.")


class Side(SideFigures):
    """One side of a comparison."""

    artifact: MeasuredFile


class ComparisonFigures(Record):
    """How much longer B takes than A, and what was measured of both."""

    ratio: Ratio = Field(description="B's median duration divided by A's.")
    verdict: Verdict | Unavailable = Field(description="On B.")
    text: str
    min_difference: float = Field(description="Smallest relative difference that counts.")
    rounds: Rounds
    stopped: Literal["narrow", "time"] = Field(description="By a narrow interval, or since the time was up.")
    a: SideFigures
    b: SideFigures


class InterleavedComparison(ComparisonFigures, Measured):
    """Two files compared on a device, interleaved."""

    kind: Literal["compare"] = "compare"
    protocol: CompareProtocol
    a: Side
    b: Side


class CompareDocument(InterleavedComparison):
    """What `compare` prints: the comparison, and that of each int8 file, B, with its fp32 twin, A."""

    status: Literal["ok"] = "ok"
    twins: list[InterleavedComparison]
