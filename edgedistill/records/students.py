"""Models compared for a target before any is trained."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from edgedistill.records.base import Record, Unavailable
from edgedistill.records.results import Delegation, UnknownDelegation
from edgedistill.records.verdicts import Latency


class ComparedStudent(Record):
    """What a model costs as an int8 file with its initial weights, or why it could not be lowered or run."""

    left_out: ClassVar[tuple[str, ...]] = ("steady", "error")

    macs: int | Unavailable = Field(description="Multiply-accumulates of one image.")
    bytes: int | Unavailable
    delegation: Delegation | UnknownDelegation | Unavailable
    latency_ms: Latency | Unavailable
    model: str
    parameters: int
    unfused_activations: dict[str, int] = Field(description="Activations that int8 layers do not take in, with their number.")
    steady: bool | None = None
    error: str | None = None
    fits: bool | None = Field(description="Whether its median latency is within max_ms; null without one.")


class StudentComparison(Record):
    """What `students` prints: the models by latency, and what they were compared for."""

    target: str
    format: str
    precision: str
    device: str
    classes: int
    image_size: int
    activation: str | None
    threads: int
    max_ms: float | None
    students: list[ComparedStudent]
