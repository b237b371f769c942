"""What `edgedistill review` prints."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgedistill.records.base import Record, Unavailable
from edgedistill.records.results import Interval

REVIEWS_FOLDER = "reviews"
"""Folder of a run with the file of each review. `--fresh` leaves it alone: people made what is in it."""


class Rate(Record):
    """A share of pairs."""

    value: float
    interval: Interval = Field(description="95% interval, over pairs, by Wilson's method.")
    pairs: int


class WinRate(Rate):
    """How often the candidate's answer is preferred; a tie counts half."""


class CriterionResult(Record):
    """What all reviewers said to one question."""

    candidate: int = Field(description="Judgements that prefer the candidate.")
    same: int
    reference: int
    win_rate: WinRate | Unavailable
    alpha: float | Unavailable = Field(description="Krippendorff's alpha, ordinal: 1 is full agreement, 0 that of chance.")


class AbsoluteResult(Record):
    """What all reviewers said to a question of yes or no about each answer: how often yes."""

    reference: Rate | Unavailable
    candidate: Rate | Unavailable
    alpha: float | Unavailable = Field(description="Krippendorff's alpha, nominal, over the answers of both.")


class ReviewerResult(Record):
    """How one reviewer judged."""

    name: str
    judged: int = Field(description="Pairs.")
    median_s: float | Unavailable = Field(description="Seconds a pair.")
    first: float | Unavailable = Field(description="Share of A among the overall choices that are A or B: far from 0.5 is a habit.")


class ReviewDocument(Record):
    """The result of a blinded review by now."""

    document: Literal["edgedistill/review/1"] = Field("edgedistill/review/1", alias="schema")
    file: str = Field(description="The file that holds pairs and judgements.")
    run: str
    reference: str
    candidate: str
    rubric: str = Field(description="Name and version of the questions.")
    seed: int
    answers: int = Field(description="Samples that both answered: of val, or of the shadow phase.")
    differing: int = Field(description="Those of them with two different answers.")
    pairs: int = Field(description="Pairs that are judged, drawn from the differing ones.")
    judgements: int
    criteria: dict[str, CriterionResult]
    absolute: dict[str, AbsoluteResult] = Field({}, description="Questions about each answer alone, such as whether it is harmful.")
    all_answers: WinRate | Unavailable = Field(description="The overall win rate, if equal answers count as ties.")
    reviewers: list[ReviewerResult]
    export: str | None = Field(None, description="The file that judgements were exported to.")
