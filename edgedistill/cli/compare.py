"""The command compare: an interleaved comparison of A and B on a device."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgedistill.cli.harness import ProtocolOptions, protocol_of
from edgedistill.cli.output import finish
from edgedistill.cli.results import with_interval
from edgedistill.cli.tables import console

if TYPE_CHECKING:
    from edgedistill.records.comparisons import CompareDocument, Side


def compare(a: Path, b: Path, device: str, options: ProtocolOptions, *, as_json: bool) -> None:
    """Compare two files on a device."""

    def work() -> CompareDocument:
        from edgedistill.measure import comparing

        return comparing.compare(a, b, device, protocol_of(options))

    finish(as_json, work, show, restores=True)


def show(document: CompareDocument) -> None:
    """Both sides, each int8 file with its fp32 twin, the ratio and the verdict."""
    from rich.table import Table
    from rich.text import Text

    screen = console()
    table = Table(title=f"{document.device.spec}: B against A, {document.rounds.n} rounds")
    for column in ("", "file", "precision", "p50 ms [95%]", "p95", "n", "load ms", "times A [95%]"):
        table.add_column(column, justify="left" if column in ("", "file", "precision") else "right")
    for row in rows(document):
        table.add_row(*map(Text, row))
    screen.print(table)
    for line in lines(document):
        screen.print(line, markup=False, highlight=False, soft_wrap=True)


def rows(document: CompareDocument) -> list[list[str]]:
    """The cells of each side, and below it those of its fp32 twin; each of `twins` is a comparison of a twin, A, with its int8 file, B."""
    cells = []
    for title, side, times in (("A", document.a, "1"), ("B", document.b, with_interval(document.ratio.value, document.ratio.interval))):
        cells.append(_row(title, side, times))
        cells += [_row("fp32 twin", twin.a, "") for twin in document.twins if twin.b.artifact == side.artifact]
    return cells


def lines(document: CompareDocument) -> list[str]:
    """The lines below the table: the verdict, the gain of each int8 file, and problems of the measurement."""
    texts = [document.text]
    if document.stopped == "time":
        texts.append("The time was up before the interval was narrow enough.")
    for twin in document.twins:
        times = with_interval(twin.ratio.value, twin.ratio.interval)
        texts.append(f"{twin.b.artifact.name} takes {times} times as long as {twin.a.artifact.name}")
    return texts + [f"{document.validity}: {reason}" for reason in document.reasons]


def _row(title: str, side: Side, times: str) -> list[str]:
    latency = side.latency_ms
    return [
        title,
        side.artifact.name,
        side.artifact.precision or "-",
        with_interval(latency.p50, side.intervals_ms.p50),
        f"{latency.p95:.3f}" if isinstance(latency.p95, float) else "-",
        str(latency.n),
        f"{side.load_ms:.1f}",
        times,
    ]
