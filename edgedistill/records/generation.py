"""Intervals of durations, and what generation takes by a file that keeps a state from one call to the next."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from edgedistill.records.base import Record, Unavailable
from edgedistill.records.verdicts import Execution, Latency

_Interval = tuple[float, float]


class Intervals(Record):
    """The 95% interval of each percentile of the latency, in milliseconds."""

    left_out: ClassVar[tuple[str, ...]] = ("p90",)

    p50: _Interval | Unavailable
    p90: _Interval | Unavailable | None = None
    p95: _Interval | Unavailable
    p99: _Interval | Unavailable


class CallTimes(Record):
    """Durations of calls, or of several together, in milliseconds."""

    latency_ms: Latency
    intervals_ms: Intervals


class GenerationEnergy(Record):
    """The energy of a new token, with its share of the prompt: the power under load less that of the idle device."""

    mj_per_token: float | Unavailable
    interval: _Interval | Unavailable = Field(description="95% interval of the energy.")
    idle_w: float | Unavailable
    power_w: float
    source: str
    window_s: float = Field(description="From the first sequence to the end of the last.")
    n: int = Field(description="Number of new tokens.")


class PromptGeneration(Record):
    """What sequences with a prompt of one length take. A sequence is a call with the prompt, then one with each further token."""

    prompt_tokens: int
    first_token: CallTimes = Field(description="The call with the prompt, which gives the first token.")
    next_token: CallTimes | Unavailable = Field(description="Each further call; unavailable where one token is new.")
    last_token: CallTimes = Field(description="All calls of a sequence: the time to its last token.")
    prefill_tokens_per_s: float = Field(description="Tokens of the prompt over the median of the first token.")
    decode_tokens_per_s: float | Unavailable = Field(description="Further tokens over the median of their time in a sequence.")
    steady: bool = Field(description="Whether the warm-up ended in a steady state.")
    peak_rss_mb: float | Unavailable = Field(description="Memory of loading the file and of one sequence, without the runtime, in MiB.")
    energy: GenerationEnergy | Unavailable


class Generation(Record):
    """What generation takes by a file that keeps a state from one call to the next. Tokens are chosen greedily, which is not timed."""

    context: int | Unavailable = Field(description="Most tokens that the file takes, prompt and new ones.")
    state_bytes: int | Unavailable = Field(description="What the file keeps, whether it is used or not.")
    new_tokens: int = Field(description="In each sequence.")
    by_prompt: list[PromptGeneration] = Field(description="By the length of the prompt, ascending.")


class TimedExecution(Execution):
    """What came of measuring an artifact on this machine."""

    left_out = (*Execution.left_out, "generation")

    generation: Generation | Unavailable | None = Field(None, description="Of a file that keeps a state.")
