"""Summaries as tables for people."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgedistill.records import ArtifactResult, Scores
    from edgedistill.records.documents import Benched, Exported, Verified
    from edgedistill.records.summary import Summary

_PLAIN_WIDTH = 132


def _score(score: Scores) -> str:
    val = score.val
    if val.value is None:
        return "unavailable"
    low, high = val.interval
    return f"{100 * val.value:.1f}% [{100 * low:.1f}, {100 * high:.1f}]"


def _number(value: object, form: str = "{:.2f}") -> str:
    return form.format(value) if isinstance(value, int | float) else "-"


def _not_run(a: ArtifactResult) -> str | None:
    """Why nothing on this machine executes a file that was lowered for a delegate."""
    return getattr(a.parity, "unavailable", None) if a.ok is None and a.delegate else None


def _artifact_cells(a: ArtifactResult) -> list[str]:
    mean_lsb, max_abs = getattr(a.parity, "mean_lsb", None), getattr(a.parity, "max_abs", None)
    distance = f"{mean_lsb:.2f} LSB" if mean_lsb is not None else f"{max_abs:.1e}" if max_abs is not None else "-"
    verdict = {True: "ok", False: "FAILED", None: "not run" if _not_run(a) else "-"}[a.ok]
    return [
        f"{a.bytes / 1024:.0f} KiB",
        _number(getattr(a.latency_ms, "p50", None)),
        _number(getattr(a.latency_ms, "p95", None)),
        _number(a.peak_rss_mb),
        distance,
        verdict,
    ]


def _table(title: str, metric: str | None) -> Any:
    """A table without rows; metric: the title of the scores, None without any."""
    from rich.table import Table

    table = Table(title=title)
    for name in ("model", "precision", *([f"{metric} on val [95%]"] if metric else [])):
        table.add_column(name, no_wrap=True)
    for name in ("size", "p50 ms", "p95 ms", "peak MB", "parity", "verified"):
        table.add_column(name, justify="right")
    return table


def console() -> Any:
    """Where tables are printed, wide enough for them."""
    from rich.console import Console

    console = Console()
    # A pipe or log has no width of its own; the usual guess of 80 would cut every cell.
    return console if console.is_terminal else Console(width=_PLAIN_WIDTH)


def show_summary(summary: Summary) -> None:
    """The table of a run, its verdict, and where the report is."""
    from edgedistill.backends import backend

    screen = console()
    by_name = {a.name: a for a in summary.artifacts}
    data = summary.data
    title = f"{summary.name}: {data.source}, {data.splits['val']} validation {summary.words.samples}"
    table = _table(title, summary.metric.title)
    for row in summary.ladder:
        artifact = by_name.get(row.rung)
        cells = _artifact_cells(artifact) if artifact else ["-"] * 6
        table.add_row(row.rung, row.precision, _score(row.score), *cells)
    screen.print(table)
    teacher = next((a for a in summary.artifacts if a.role == "teacher"), None)
    if teacher is not None and summary.teacher is not None:
        size, p50, p95, peak, *_ = _artifact_cells(teacher)
        form = backend(teacher.format).title
        screen.print(f"Teacher {summary.teacher.model} as {form}: {size}, p50 {p50} ms, p95 {p95} ms, peak {peak} MB.")
    for pair in summary.teacher.members.disagreement if summary.teacher else ():
        if isinstance(pair.share, float):
            screen.print(f"Teachers {pair.a} and {pair.b} decide differently on {pair.share:.1%} of val.")
    for line in _not_verified(summary.artifacts):
        screen.print(line, soft_wrap=True)
    screen.print(summary.verdict.text)
    for warning in summary.warnings:
        screen.print(f"WARNING: {warning}", markup=False)
    for name in summary.failed:
        screen.print(f"CHECK FAILED: {name}")
    screen.print(f"Report: {summary.report}", soft_wrap=True)


def _not_verified(artifacts: Iterable[ArtifactResult]) -> list[str]:
    """Each file that nothing on this machine executes, with the reason."""
    return [f"{a.name} was lowered and not executed: {why}" for a in artifacts if (why := _not_run(a))]


def show_artifacts(document: Exported | Verified | Benched) -> None:
    """The table of some artifacts, their delegation and ranges, their broken budgets, and where the bundles are."""
    from edgedistill.report import delegation, ranges
    from edgedistill.verify.failures import failures, warnings

    screen = console()
    scored = any(a.score.val.value is not None for a in document.artifacts)
    table = _table(document.run, document.metric.title if scored else None)
    for a in document.artifacts:
        table.add_row(a.name, a.precision, *([_score(a.score)] if scored else []), *_artifact_cells(a))
    screen.print(table)
    if not scored:
        from edgedistill.cli.outputs import outputs_table

        screen.print(outputs_table(document.artifacts))
    lines = [delegation.line(a) for a in document.artifacts]
    # A bench has none.
    lines += ranges.lines(document.ranges) if hasattr(document, "ranges") else []
    for line in [*lines, *_not_verified(document.artifacts)]:
        screen.print(line, soft_wrap=True)
    for line in warnings(document.artifacts, document.metric):
        screen.print(f"WARNING: {line}", soft_wrap=True, markup=False)
    for line in failures(document.artifacts, missing=document.not_lowered):
        screen.print(f"CHECK FAILED: {line}", soft_wrap=True)
    for target, path in getattr(document, "bundles", {}).items():
        screen.print(f"{target}: {path}", soft_wrap=True)
