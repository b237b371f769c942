"""Whether distillation is the right tool for a recipe, and the figures that say so."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgedistill.records.base import Record

Severity = Literal["against", "warning", "unknown", "ok"]


class Finding(Record):
    """One thing that speaks for or against distillation."""

    left_out = ("instead", "command")

    subject: str = Field(
        description="teacher, control, size, val, facts, steps, format, load, cost, baseline, a target with limits, or targets without."
    )
    severity: Severity = Field(description="unknown where a figure is not there.")
    text: str = Field(description="A sentence or two for readers.")
    figures: dict[str, float | int | str] = Field(description="By what they are.")
    source: str = Field(description="Where the figures are from.")
    instead: str | None = Field(None, description="What to do instead, or about it.")
    command: str | None = Field(None, description="The command that makes what is not there.")


class Advice(Record):
    """What `advise` prints: the findings, those against distillation first."""

    document: Literal["edgedistill/advice/1"] = Field("edgedistill/advice/1", alias="schema")
    name: str
    run: str
    verdict: Literal["distil", "unclear", "not_here"] = Field(
        description="not_here where a finding is against; unclear where nothing tells whether the teacher is better than the control."
    )
    text: str
    findings: list[Finding]
