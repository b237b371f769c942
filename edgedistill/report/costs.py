"""The report's tables of what quantization cost and gained, and of what lowering took."""

from collections.abc import Mapping
from typing import Any

from edgedistill.report.tables import Table, by_format, flips, title
from edgedistill.report.values import Cell, figures, get, interval, number, points, seconds, show, words

Summary = Mapping[str, Any]


def quantization(summary: Summary) -> Table:
    """Each quantized artifact beside the floating-point file of its format, by format and then by bytes."""
    headers = ("artifact", "against", "flips", f"{title(summary)}, points", "its bytes are", "faster", "advice")
    rows = [_row(a) for a in by_format(summary) if isinstance(a.get("quantization"), Mapping)]
    return Table("What quantization cost and gained, on val", headers, rows)


def _row(artifact: Summary) -> list[Cell]:
    cost = artifact["quantization"]
    difference = show(cost.get("difference"), points)
    bounds = interval(cost.get("interval"), points)
    return [
        Cell(str(artifact.get("name")), "code"),
        Cell(str(cost.get("twin")), "code"),
        flips(cost),
        Cell(f"{difference.text}\n{bounds}", "number") if number(cost.get("difference")) is not None and bounds else difference,
        show(cost.get("bytes_ratio"), lambda ratio: f"{figures(ratio)}×"),
        show(cost.get("speedup"), lambda ratio: f"{figures(ratio)}×"),
        words(cost.get("advice") or "–"),
    ]


def lowering(summary: Summary) -> Table:
    """Time and memory of the process that lowered each format."""
    rows = [
        [Cell(name), show(get(cost, "seconds"), seconds), show(get(cost, "peak_rss_mb"), figures), Cell(", ".join(cost["files"]))]
        for name, cost in (summary.get("lowering") or {}).items()
    ]
    return Table("Lowering, one process a format", ("format", "time", "peak memory, MiB", "files and their own time"), rows)
