"""The command results: the measurements of this project."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edgedistill.cli.output import finish
from edgedistill.cli.tables import console

if TYPE_CHECKING:
    from edgedistill.records import Unavailable
    from edgedistill.records.measurements import MeasuredFile
    from edgedistill.records.results import Interval
    from edgedistill.records.stored import ExportedResults, Results, Stored


def results(which: str | None, filters: Mapping[str, str | None], *, export: Path | None, as_json: bool) -> None:
    """List the measurements that match `filters` (of `store.Store`), show one by its id or name, or write them all to a file."""

    def work() -> Results | ExportedResults:
        from edgedistill.errors import UserError
        from edgedistill.measure import store, tabular
        from edgedistill.records.stored import ExportedResults, Results

        if not store.PATH.exists():
            raise UserError(f"nothing was measured here yet ({store.PATH} is not there); measure with `edgedistill bench --device`")
        with store.opened() as opened:
            if which is not None and which.isdigit():
                measurements = [opened.get(which)]
            else:
                measurements = opened.measurements(**{**filters, **({"name": which} if which else {})})
                if which is not None and not measurements:
                    # Raises an error that lists the known names.
                    opened.get(which)
        if export is None:
            return Results(measurements=measurements)
        tabular.export(measurements, export)
        return ExportedResults(export=str(export), rows=len(measurements))

    finish(as_json, work, _show)


def _show(document: Results | ExportedResults) -> None:
    from rich.table import Table
    from rich.text import Text

    from edgedistill.records.stored import ExportedResults

    if isinstance(document, ExportedResults):
        print(f"{document.export}: {document.rows} rows")
        return
    if len(document.measurements) == 1:
        _show_one(document.measurements[0])
        return
    table = Table(title=f"{len(document.measurements)} measurements")
    for column in ("id", "when (UTC)", "device", "kind", "file", "threads", "median [95%]", "validity", "name"):
        table.add_column(column, justify="right" if column in ("id", "threads", "median [95%]") else "left")
    for measurement in document.measurements:
        files = ", ".join(file.name for file in _files(measurement))
        when = measurement.created[:16].replace("T", " ")
        cells = [str(measurement.id), when, measurement.device.spec, measurement.kind, files, str(measurement.threads)]
        # Names of files and devices may hold brackets, which are no markup.
        table.add_row(*map(Text, [*cells, _figure(measurement), measurement.validity, measurement.name or ""]))
    console().print(table)


def _show_one(measurement: Stored) -> None:
    screen = console()

    def say(line: str) -> None:
        screen.print(line, markup=False, highlight=False, soft_wrap=True)

    name = f" ({measurement.name})" if measurement.name else ""
    model = measurement.device.model if isinstance(measurement.device.model, str) else "unknown model"
    say(f"{measurement.id}{name}: {measurement.kind} of {measurement.created} on {measurement.device.spec}, {model}")
    for file in _files(measurement):
        say(f"{file.name}: {file.format}, {file.precision or '-'}, SHA-256 {file.sha256}")
    say(f"{_figure(measurement)}, {measurement.threads} thread(s), {measurement.validity}")
    for reason in measurement.reasons:
        say(f"  {reason}")
    say(f"`edgedistill results {measurement.id} --json` has all of it.")


def _files(measurement: Stored) -> list[MeasuredFile]:
    """The file that was measured, or the two of a comparison."""
    from edgedistill.records.comparisons import InterleavedComparison

    if isinstance(measurement, InterleavedComparison):
        return [measurement.a.artifact, measurement.b.artifact]
    return [measurement.artifact]


def _figure(measurement: Stored) -> str:
    """The median of what was measured, or the ratio of a comparison."""
    from edgedistill.records import Latency
    from edgedistill.records.comparisons import InterleavedComparison
    from edgedistill.records.measurements import Intervals, Measurement

    if isinstance(measurement, InterleavedComparison):
        return f"{with_interval(measurement.ratio.value, measurement.ratio.interval)} times A"
    if not isinstance(measurement, Measurement) or not isinstance(measurement.latency_ms, Latency):
        return "-"
    intervals = measurement.intervals_ms
    return f"{with_interval(measurement.latency_ms.p50, intervals.p50 if isinstance(intervals, Intervals) else intervals)} ms"


def with_interval(value: float | Unavailable, interval: Interval | Unavailable) -> str:
    """A figure and its interval, as far as they are known."""
    if not isinstance(value, float):
        return "-"
    return f"{value:.3f} [{interval[0]:.3f}, {interval[1]:.3f}]" if isinstance(interval, tuple) else f"{value:.3f}"
