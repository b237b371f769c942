"""What `edgedistill shadow` prints."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgedistill.records.base import Record, Unavailable
from edgedistill.records.verdicts import Status


class Quantiles(Record):
    """Quantiles of what was measured in the shadow."""

    p05: float
    p50: float
    p95: float
    n: int


class Breaks(Record):
    """How many answers break a rule."""

    format: int = Field(description="No JSON that fits the schema, or no JSON where the teacher's answer is.")
    policy: int = Field(description="A part that the policy forbids.")


class Recorded(Record):
    """Exchanges that a proxy wrote as traces."""

    path: str
    written: int
    scrubbed: bool = Field(description="Whether personal data were replaced; then what could not be read was left out.")
    not_written: dict[str, int] = Field(description="Exchanges that were not written, by the reason.")
    dropped: int = Field(description="Exchanges that came faster than they could be written.")


class ShadowDocument(Record):
    """How far a student disagrees with its teacher on real requests."""

    document: Literal["edgedistill/shadow/1"] = Field("edgedistill/shadow/1", alias="schema")
    created: str = Field("", description="UTC time when this was written; empty in files of earlier versions.")
    mode: Literal["replay", "proxy"]
    source: str = Field(description="The file of traces, or the host of the teacher.")
    student: str = Field(description="The file that answered in the shadow.")
    sha256: str = Field(description="Of that file.")
    status: Status = Field(description="check_failed unless the disagreement is shown to be inside the tolerance.")
    decision: Literal["inside", "outside", "undecided"] = Field(description="The last one; its error holds over all looks together.")
    decided_at: int | None = Field(description="Compared exchanges when it was made; null while it is undecided.")
    tolerance: float
    alpha: float = Field(description="Largest probability that the interval ever misses the true rate, and so of a wrong decision.")
    n: int = Field(description="Exchanges that count: compared ones, and those that the student did not answer.")
    disagreements: int
    rate: float | Unavailable
    interval: tuple[float, float] = Field(description="Confidence sequence of the rate: it holds at every n together.")
    needed: int | None = Field(description="About how many exchanges in all a decision takes if the rate stays; null where none comes.")
    why: dict[str, int] = Field(description="Disagreements by what differs first, such as decision, format or meaning.")
    teacher_breaks: Breaks
    student_breaks: Breaks
    similarity: Quantiles | Unavailable = Field(description="Of texts that are not the same, by the embedder or scorer; of all outputs.")
    divergence: Quantiles | Unavailable = Field(
        Unavailable(unavailable="there are none"), description="KL(teacher || student) in nats, where traces have the teacher's scores."
    )
    teacher_ms: Quantiles | Unavailable = Field(description="From the request to the last byte of the answer.")
    student_ms: Quantiles | Unavailable = Field(description="Of whole answers on this machine, beside all else that it does.")
    not_compared: dict[str, int] = Field(description="Exchanges that do not count, by the reason.")
    dropped: int = Field(description="Exchanges that the student was too busy for; they do not count.")
    restarts: int = Field(description="How often the student's process ended and was started again.")
    folder: str
    people: str = Field(description="Sample for people, JSON lines.")
    recorded: Recorded | None = Field(None, description="Null without --record.")
