"""Sections of a report as data: a task says what to show, and the report draws it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

Cell = str | int | float | None
"""A text or number of a table; None where there is none."""


@dataclass(frozen=True)
class Table:
    """Rows under `columns`; every row has one cell for each column. A long one is shown when it is asked for (`folded`)."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""
    folded: bool = False
    kind: Literal["table"] = "table"


@dataclass(frozen=True)
class Chart:
    """Lines through points: `series` maps the name of a line to its points (x, y)."""

    x: str
    """What the horizontal axis shows, with its unit."""
    y: str
    series: dict[str, tuple[tuple[float, float], ...]]
    caption: str = ""
    title: str = ""
    kind: Literal["chart"] = "chart"


@dataclass(frozen=True)
class ConfusionMatrix:
    """How often `names[i]` was taken for `names[j]`: `counts[i][j]`."""

    names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    caption: str = ""
    title: str = "Confusion matrix"
    kind: Literal["confusion"] = "confusion"


@dataclass(frozen=True)
class Bin:
    """Decisions with a confidence from `low` to `high`: how many, their mean confidence, and the share that is right; None for none."""

    low: float
    high: float
    count: int
    confidence: float | None = None
    accuracy: float | None = None


@dataclass(frozen=True)
class ReliabilityDiagram:
    """How often decisions are right, by the confidence that they are made with (DeGroot and Fienberg 1983, The Statistician 32)."""

    bins: tuple[Bin, ...]
    caption: str = ""
    title: str = "Reliability"
    kind: Literal["reliability"] = "reliability"


Block = Annotated[Table | Chart | ConfusionMatrix | ReliabilityDiagram, Field(discriminator="kind")]


@dataclass(frozen=True)
class Section:
    """A heading, sentences, and what is shown below them."""

    title: str
    text: str = ""
    blocks: tuple[Block, ...] = field(default=())
