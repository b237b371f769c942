"""Draws the sections that only a task can write; see `records.sections`."""

import re
from collections.abc import Mapping
from typing import Any

from edgedistill.report import charts
from edgedistill.report.tables import Table
from edgedistill.report.values import Cell, figures, integer

_CHARTS = {"chart": charts.chart, "confusion": charts.confusion, "reliability": charts.reliability}


def sections(summary: Mapping[str, Any]) -> list[dict[str, object]]:
    """For each section its `title`, `anchor`, `text` and `blocks`: a `table`, which may be `folded`, or a `chart` with its caption."""
    return [
        {
            "title": str(section["title"]),
            "anchor": re.sub(r"\W+", "-", str(section["title"]).lower()).strip("-"),
            "text": str(section.get("text") or ""),
            "blocks": [_block(block) for block in section.get("blocks") or []],
        }
        for section in summary.get("sections") or []
    ]


def _block(block: Mapping[str, Any]) -> dict[str, object]:
    from markupsafe import Markup

    if block["kind"] == "table":
        rows = [[_cell(value) for value in row] for row in block["rows"]]
        return {"table": Table(block["caption"], block["columns"], rows), "folded": block["folded"]}
    svg = _CHARTS[block["kind"]](block)
    # Vega escapes every text in its SVG.
    return {"chart": Markup(svg) if svg else None, "title": block["title"], "caption": block["caption"]}


def _cell(value: str | float | None) -> Cell:
    if value is None:
        return Cell("–")
    if isinstance(value, str):
        return Cell(value)
    return Cell(integer(value) if float(value).is_integer() else figures(value), "number")
