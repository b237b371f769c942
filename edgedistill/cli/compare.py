"""The command compare: A and B in turns on a device, and which of them is faster."""

from pathlib import Path
from typing import Any

from edgedistill.cli.output import finish
from edgedistill.cli.results import with_interval
from edgedistill.cli.tables import console


def compare(a: Path, b: Path, device: str, options: dict[str, Any], *, as_json: bool) -> None:
    """Compare two files on a device; options: as `pipeline.compare` takes them."""

    def work() -> dict[str, Any]:
        from edgedistill import pipeline

        return pipeline.compare(a, b, device, **options)  # type: ignore[attr-defined,no-any-return]

    finish(as_json, work, show)


def show(document: dict[str, Any]) -> None:
    """Both sides, each with its fp32 twin where it has one, the ratio and the verdict."""
    from rich.table import Table
    from rich.text import Text

    screen = console()
    table = Table(title=f"{document['device']['spec']}: B against A, {document['rounds']['n']} rounds")
    for column in ("", "file", "precision", "p50 ms [95%]", "p95", "n", "load ms", "times A"):
        table.add_column(column, justify="left" if column in ("", "file", "precision") else "right")
    for row in rows(document):
        table.add_row(*map(Text, row))
    screen.print(table)
    lines = [document["text"]]
    if document["stopped"] == "time":
        lines.append("The time was up before the interval was as narrow as asked; a longer one (--max-s) tells more.")
    lines += [f"{document['validity']}: {reason}" for reason in document.get("reasons", [])]
    for line in lines:
        screen.print(line, markup=False, highlight=False, soft_wrap=True)


def rows(document: dict[str, Any]) -> list[list[str]]:
    """The cells of each side, and below it those of its fp32 twin: `twins` of the document has a measurement, or None, for `a` and `b`."""
    ratio, twins = document["ratio"], document.get("twins", {})
    times = {"a": "1", "b": with_interval(ratio["value"], ratio["interval"])}
    found = []
    for side in ("a", "b"):
        found.append(_row(side.upper(), document[side], times[side]))
        if twins.get(side) is not None:
            found.append(_row(f"{side.upper()}'s fp32 twin", twins[side], ""))
    return found


def _row(title: str, measured: dict[str, Any], times: str) -> list[str]:
    latency, loads = measured["latency_ms"], measured["load_ms"]
    interval = measured["intervals_ms"].get("p50")
    # A comparison has the median of the cold loads of its processes, a measurement a cold and a warm one.
    load = loads.get("cold") if isinstance(loads, dict) else loads
    return [
        title,
        measured["artifact"]["name"],
        measured["artifact"]["precision"],
        with_interval(latency.get("p50"), interval),
        _number(latency.get("p95"), 3),
        str(latency.get("n", "-")),
        _number(load, 1),
        times,
    ]


def _number(value: Any, digits: int) -> str:
    return f"{value:.{digits}f}" if isinstance(value, int | float) else "-"
