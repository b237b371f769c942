"""The command route."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedistill.cli.output import finish
from edgedistill.cli.tables import console

if TYPE_CHECKING:
    from edgedistill.records.router import RoutedArtifact, RouterDocument


def route(run_folder: Path | None, options: dict[str, Any], runs_dir: Path, *, as_json: bool) -> None:
    """Find the decision table of a run and show what it saves and misses. options: those of `steps.route.route`."""

    def work() -> RouterDocument:
        from edgedistill.runs import newest
        from edgedistill.steps.route import route

        return route(run_folder if run_folder is not None else newest(runs_dir), **options)

    finish(as_json, work, _show)


def _show(document: RouterDocument) -> None:
    from rich.table import Table

    from edgedistill.records import Unavailable

    screen = console()
    aim = f"{document.rate:.1%} sent to the teacher" if document.rate is not None else f"a risk of at most {document.risk:.2%}"
    table = Table(title=f"Router by {document.table.by}: {aim}")
    table.add_column("artifact", no_wrap=True)
    for name in ("threshold", "sent [95%]", "risk kept (bound)", "errors caught", "misses", "student", "teacher", "routed", "AURC"):
        table.add_column(name, justify="right")
    for artifact in document.artifacts:
        table.add_row(artifact.name, *_cells(artifact, document.table.by))
    screen.print(table)
    lines = [f"unavailable: {name}: {why}" for name, why in document.unavailable.items()]
    if document.status != "ok":
        lines.append("No threshold keeps this risk on val with this confidence: all goes to the teacher. Allow more risk, or use more val.")
    if not isinstance(document.cost, Unavailable):
        cost = document.cost
        lines.append(
            f"A request costs {cost.teacher.request:.4g} {cost.currency} with the teacher alone and {cost.routed.request:.4g} behind the "
            f"router of {cost.artifact}, which saves {cost.saved.request:.4g}."
        )
    for line in lines:
        screen.print(line, markup=False, highlight=False, soft_wrap=True)


def _cells(artifact: RoutedArtifact, by: str) -> list[str]:
    from edgedistill.records import Unavailable

    low, high = artifact.sent.interval
    risk, score = artifact.risk, artifact.score
    kept = "-" if isinstance(risk, Unavailable) else f"{risk.value:.2%} ({risk.bound:.2%})"
    scores = ["-"] * 3 if isinstance(score, Unavailable) else [f"{value:.1%}" for value in (score.student, score.teacher, score.routed)]
    return [
        "none" if artifact.threshold is None else f"{artifact.threshold:.4f}",
        f"{artifact.sent.value:.1%} [{low:.1%}, {high:.1%}]",
        kept,
        f"{artifact.caught} of {artifact.errors}",
        "-" if isinstance(artifact.misses, Unavailable) else str(artifact.misses),
        *scores,
        f"{artifact.aurc[by]:.4f}",
    ]
