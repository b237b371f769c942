"""Sections of a report as data: a task says what to show, and the report draws it."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgedistill.tasks.data import DataFacts

Cell = str | int | float | None
"""A text or number of a table; None where there is none."""


@dataclass(frozen=True)
class Table:
    """Rows under `columns`; every row has one cell for each column."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""


@dataclass(frozen=True)
class Chart:
    """Lines through points: `series` maps the name of a line to its points (x, y)."""

    x: str
    """What the horizontal axis shows, with its unit."""
    y: str
    series: dict[str, tuple[tuple[float, float], ...]]
    caption: str = ""


@dataclass(frozen=True)
class Section:
    """A heading, sentences, and what is shown below them."""

    title: str
    text: str = ""
    blocks: tuple[Table | Chart, ...] = ()


@dataclass(frozen=True)
class Results:
    """What a task can tell about: the outputs of each rung and artifact on val, and the targets.

    outputs: arrays [N, ...] by the name of the output, by rung. targets: arrays [N, ...] by the name of the output; empty without any.
    """

    facts: DataFacts
    outputs: dict[str, dict[str, object]]
    targets: dict[str, object] = field(default_factory=dict)
