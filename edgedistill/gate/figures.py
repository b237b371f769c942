"""A figure of a file, and what comes of holding it to a rule of the gate."""

from __future__ import annotations

from dataclasses import dataclass

from edgedistill.recipe.gate import Rule
from edgedistill.records import Unavailable
from edgedistill.records.gate import Check, Sense, SliceFigure, Source, Unit

BOUND = "the bound is Gaffke's"


@dataclass(frozen=True)
class Figure:
    """A figure, how it was measured, and the bound that is held to the limit in its place; `n` samples.

    part: the slice, device or teacher that it is of. slices: all slices. source: the file that it was read from.
    """

    value: float | Unavailable
    how: str
    bound: float | None = None
    n: int | None = None
    part: str | None = None
    slices: list[SliceFigure] | None = None
    source: Source | None = None


def check(rule: Rule, field: str, title: str, file: str, figure: Figure, limit: float | None = None, sense: Sense = "kept",
          unit: Unit = "") -> Check:  # fmt: skip
    """Hold a figure to a rule; without a limit its value says whether the rule is kept."""
    held = figure.value if figure.bound is None else figure.bound
    ok: bool | None
    if isinstance(held, Unavailable):
        ok = None if rule.may_be_unavailable else False
    elif limit is None:
        ok = bool(held)
    else:
        ok = held <= limit if sense == "at most" else held >= limit
    return Check(
        rule=f"gate.{field}", title=title, file=file, part=figure.part, value=figure.value, bound=figure.bound, limit=limit, sense=sense,
        unit=unit, n=figure.n, ok=ok, how=figure.how, slices=figure.slices, source=figure.source,
    )  # fmt: skip
