"""The command monitor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedistill.cli.output import finish
from edgedistill.cli.tables import console

if TYPE_CHECKING:
    from edgedistill.records.drift import DriftDocument, InputShift

_ADVICE = {
    "stable": "Stable: nothing says that the answers changed, or the requests.",
    "watch": "Watch: the answers changed, but little, or the requests did. Compare again with more traces, and look at what changed.",
    "retrain": "Train again: the answers changed much. Add fresh samples to the data, and look first at the decisions above.",
}


def monitor(source: Path, traces: Path, options: dict[str, Any], *, as_json: bool) -> None:
    """Compare traces with what a source knows, and show it. options: those of `steps.monitor.monitor`."""

    def work() -> DriftDocument:
        from edgedistill.steps.monitor import monitor

        return monitor(source, traces, **options)

    finish(as_json, work, _show)


def _show(document: DriftDocument) -> None:
    from rich.table import Table

    from edgedistill.records import Unavailable

    screen = console()
    table = Table(title=f"{document.n:,} traces against {document.n_reference:,} answers of {document.artifact or document.source}")
    table.add_column("test", no_wrap=True)
    for name in ("statistic [95%]", "p, adjusted", "drifted"):
        table.add_column(name, justify="right")
    for test in document.tests:
        ends = "" if isinstance(test.interval, Unavailable) else f" [{test.interval[0]:.3f}, {test.interval[1]:.3f}]"
        table.add_row(test.name, f"{test.statistic:.3f}{ends}", f"{test.adjusted:.4f}", "yes" if test.drifted else "no")
    screen.print(table)
    lines = [f"Mean confidence: {document.mean:.4f}, was {document.mean_reference:.4f}"]
    lines += [f"  {shift.decision}: {shift.traces:.1%} of the traces, was {shift.reference:.1%}" for shift in document.shifts]
    lines += [_moved(shift) for shift in document.inputs if shift.drifted]
    if not isinstance(document.sent, Unavailable):
        low, high = document.sent.interval
        lines.append(f"The router sends {document.sent.value:.1%} of the traces to the teacher [{low:.1%}, {high:.1%}].")
    for line in [*lines, _ADVICE[document.advice]]:
        screen.print(line, markup=False, highlight=False, soft_wrap=True)


def _moved(shift: InputShift) -> str:
    if shift.traces is None or shift.reference is None:
        return f"The requests moved: {shift.feature} has other shares."
    return f"The requests moved: {shift.feature} has the mean {shift.traces:.4g}, was {shift.reference:.4g}."
