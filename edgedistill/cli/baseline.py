"""The command baseline-teacher."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgedistill.cli.output import finish
from edgedistill.cli.tables import console

if TYPE_CHECKING:
    from edgedistill.records import Latency, Score, Unavailable
    from edgedistill.records.baseline import Baseline, TeacherCost


def baseline_teacher(
    recipe: str, overrides: list[str], callers: str, requests: int, assumptions: Path | None, runs_dir: Path, *, trust_code: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Measure the teachers of `recipe`. callers: numbers with commas between them."""

    def work() -> Baseline:
        from edgedistill.errors import UserError
        from edgedistill.recipe.loading import load_recipe

        loaded = load_recipe(recipe, overrides, trust_code=trust_code)
        parts = [part.strip() for part in callers.split(",")]
        if not all(part.isascii() and part.isdecimal() for part in parts):
            raise UserError(f"--callers: found '{callers}', expected numbers such as 1,4,16")
        from edgedistill.steps.baseline import baseline_teacher

        return baseline_teacher(loaded, runs_dir, callers=[int(part) for part in parts], requests=requests, assumptions=assumptions)

    finish(as_json, work, _show)


def _show(baseline: Baseline) -> None:
    """A table of the loads of each teacher, and its quality and cost in sentences."""
    from rich.table import Table

    screen = console()
    for teacher in baseline.teachers:
        table = Table(title=f"{teacher.name} ({teacher.model}) on {teacher.where}, {baseline.samples} requests a load")
        for column in ("callers", "p50 ms", "p95 ms", "answers a second", "errors"):
            table.add_column(column, justify="right")
        for load in teacher.load:
            table.add_row(str(load.callers), *_times(load.latency_ms), f"{load.answers_per_s:.3g}", str(load.errors))
        screen.print(table)
        shares = {f"{baseline.metric.title} on val": teacher.score, **teacher.answers, "format errors": teacher.format_errors}
        lines = [f"{what}: {_share(score)}" for what, score in shares.items()]
        lines += [f"a session: {_cost(teacher.cost)}"]
        lines += [f"errors with {load.callers} callers: {load.error}" for load in teacher.load if load.error]
        for line in lines:
            screen.print(line, markup=False, highlight=False, soft_wrap=True)


def _times(latency: Latency | Unavailable) -> list[str]:
    return [f"{value:.4g}" if isinstance(value := getattr(latency, name, None), float) else "-" for name in ("p50", "p95")]


def _share(score: Score | Unavailable) -> str:
    from edgedistill.records import Unavailable

    if isinstance(score, Unavailable):
        return f"unavailable: {score.unavailable}"
    low, high = score.interval
    return f"{100 * score.value:.1f}% [{100 * low:.1f}, {100 * high:.1f}] of {score.n}"


def _cost(cost: TeacherCost | Unavailable) -> str:
    from edgedistill.records import Unavailable

    if isinstance(cost, Unavailable):
        return f"unavailable: {cost.unavailable}"
    return f"{cost.session:.4g} {cost.currency} for {cost.requests_per_session:g} requests ({cost.source})"
