"""The command cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedistill.cli.output import finish
from edgedistill.cli.tables import console

if TYPE_CHECKING:
    from edgedistill.records.cost import BreakEven, CostDocument, Costs, RequestLatency


def cost(run_or_file: Path | None, assumptions: Path, artifact: str | None, device: str | None, runs_dir: Path, *, as_json: bool) -> None:
    """Show what requests cost with the teacher and with the student. run_or_file: by default the newest run in `runs_dir`."""

    def work() -> CostDocument:
        from edgedistill.runs import newest
        from edgedistill.steps.cost.document import cost

        chosen = run_or_file if run_or_file is not None else newest(runs_dir)
        return cost(chosen, assumptions, artifact=artifact, device=device)

    finish(as_json, work, _show)


def _show(document: CostDocument) -> None:
    """Costs, latency, the break-even and all assumptions, as tables, with the reason for each value that is not there."""
    from rich.table import Table
    from rich.text import Text

    screen, missing = console(), dict[str, list[str]]()
    costs = Table(title=f"What requests cost, {document.currency}")
    costs.add_column("")
    for unit in ("a request", "a session", "an active user, a month", "all active users, a month"):
        costs.add_column(unit, justify="right")
    parts = document.student_costs
    for title, row in (
        ("teacher", document.teacher),
        ("student: download", parts.download),
        ("student: support", parts.support),
        (f"student: distillation over {parts.months:g} months", parts.distillation),
        ("student, total", parts.total),
        ("paid by users: energy, J", document.energy.joules),
        ("paid by users: electricity", document.energy.price),
    ):
        costs.add_row(title, *_cells(row, title, missing))
    screen.print(costs)
    latency = Table(title="Latency of a request, ms")
    for column in ("", "p50", "p95", "from"):
        latency.add_column(column, justify="right" if column in ("p50", "p95") else "left")
    for title, times in (("teacher", document.teacher_latency_ms), ("student", document.student.latency_ms)):
        latency.add_row(title, *map(Text, _times(times, f"latency of the {title}", missing)))
    screen.print(latency)
    assumed = Table(title=f"Assumptions of {document.assumptions.path}")
    assumed.add_column("field")
    assumed.add_column("value", justify="right")
    for field, value in _flat(document.assumptions.values):
        assumed.add_row(field, Text("not given" if value is None else str(value)))
    screen.print(assumed)
    for line in [_student(document), *_break_even(document.break_even, document.currency, parts.months), *document.notes]:
        screen.print(line, markup=False, highlight=False, soft_wrap=True)
    for why, titles in missing.items():
        screen.print(f"unavailable: {why} ({'; '.join(dict.fromkeys(titles))})", markup=False, highlight=False, soft_wrap=True)


def _cells(costs: Costs, title: str, missing: dict[str, list[str]]) -> list[str]:
    return [_cell(getattr(costs, unit), title, missing) for unit in type(costs).model_fields]


def _cell(figure: Any, title: str, missing: dict[str, list[str]]) -> str:
    """A figure as text; that of an unavailable one is a dash, and its reasons go into `missing`."""
    if (why := getattr(figure, "unavailable", None)) is None:
        return _amount(figure)
    for reason in why.split("; "):
        missing.setdefault(reason, []).append(title)
    return "-"


def _amount(value: float) -> str:
    """Four digits that count, or all of a whole number."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _times(latency: RequestLatency, title: str, missing: dict[str, list[str]]) -> list[str]:
    source = latency.source or "-"
    if latency.estimate is not None:
        return [f"about {_cell(latency.estimate, title, missing)}", "-", source]
    return [_cell(latency.p50, title, missing), _cell(latency.p95, title, missing), source]


def _flat(values: Any, name: str = "") -> list[tuple[str, Any]]:
    """Each field of nested ones by its whole name, as `usage.active_users`."""
    if not isinstance(values, dict):
        return [(name, values)]
    return [pair for key, value in values.items() for pair in _flat(value, f"{name}.{key}" if name else key)]


def _student(document: CostDocument) -> str:
    student = document.student
    validity = "" if student.validity is None else f"; the measurement is {'; '.join([student.validity, *student.reasons])}"
    return f"Student: {student.name} of {document.measurement}, {student.bytes / 1e6:,.3g} MB, measured on {student.device}{validity}"


def _break_even(point: BreakEven, currency: str, months: float) -> list[str]:
    """When the one-time cost is back, in words."""
    from edgedistill.records import Unavailable

    if isinstance(point.requests, Unavailable):
        return [f"Break-even: unavailable: {point.requests.unavailable}"]
    lines = [
        f"Break-even: before distillation the student saves {_cell(point.saved_per_user_month, '', {})} {currency} for each active user "
        f"and month. The one-time cost is back after {point.requests:,} requests, or {point.user_months:,} months of active users.",
        f"Within {months:g} months {point.active_users:,} active users bring it back.",
    ]
    if not isinstance(point.months, Unavailable):
        lines += [f"With the active users of the assumptions it is back after {_amount(point.months)} months."]
    return lines
