"""The command review."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedistill.cli.output import finish
from edgedistill.records.base import Unavailable

if TYPE_CHECKING:
    from edgedistill.records.review import AbsoluteResult, CriterionResult, Rate, ReviewDocument, ReviewerResult


def review(run_or_file: Path | None, options: dict[str, Any], runs_dir: Path, *, results: bool, open_it: bool, as_json: bool) -> None:
    """Serve the page of a review, or only tell its results. options: of `steps.review.review`."""

    def work() -> ReviewDocument:
        from edgedistill.runs import newest
        from edgedistill.steps.review import review

        chosen = run_or_file if run_or_file is not None else newest(runs_dir)
        if results:
            return review(chosen, **options)
        return review(chosen, **options, ready=lambda links: _ready(links, open_it=open_it))

    # It ends by an interrupt, and then tells what was judged.
    finish(as_json, work, _show, restores=True)


def _ready(links: dict[str, str], *, open_it: bool) -> None:
    print("Each reviewer has a link of their own. Ctrl-C ends the review; the same command continues it.", file=sys.stderr)
    for name, link in links.items():
        print(f"  {name}: {link}", file=sys.stderr)
    sys.stderr.flush()
    if open_it:
        import webbrowser

        webbrowser.open(next(iter(links.values())))


def _show(document: ReviewDocument) -> None:
    """Win rates and agreement as a table, with the reason for each value that is not there."""
    from rich.table import Table
    from rich.text import Text

    from edgedistill.cli.tables import console

    shown = Table(title=f"{document.candidate} against {document.reference}, {document.judgements} judgements of {document.pairs} pairs")
    for column in ("criterion", "candidate", "same", "reference", "win rate [95% interval]", "alpha"):
        shown.add_column(column, justify="left" if column == "criterion" else "right")
    for name, each in document.criteria.items():
        shown.add_row(name, str(each.candidate), str(each.same), str(each.reference), _rate(each.win_rate), _alpha(each))
    screen = console()
    screen.print(shown)
    for name, yes in document.absolute.items():
        print(f"{name}: candidate {_rate(yes.candidate)}, reference {_rate(yes.reference)}, alpha {_alpha(yes)}")
    print(f"{document.differing} of {document.answers} answers differ; win rate with equal ones as ties: {_rate(document.all_answers)}")
    for one in document.reviewers:
        screen.print(Text(f"{one.name}: {one.judged} of {document.pairs} pairs{_habits(one)}"))
    reasons: dict[str, list[str]] = {}
    alphas = {name: each.alpha for name, each in document.criteria.items()} | {name: yes.alpha for name, yes in document.absolute.items()}
    for name, alpha in alphas.items():
        if isinstance(alpha, Unavailable):
            reasons.setdefault(alpha.unavailable, []).append(name)
    for reason, names in reasons.items():
        print(f"no alpha of {', '.join(names)}: {reason}")
    print(document.file if document.export is None else f"{document.file}, exported to {document.export}")


def _alpha(result: CriterionResult | AbsoluteResult) -> str:
    return "-" if isinstance(result.alpha, Unavailable) else f"{result.alpha:.2f}"


def _rate(rate: Rate | Unavailable) -> str:
    if isinstance(rate, Unavailable):
        return "-"
    low, high = rate.interval
    return f"{rate.value:.1%} [{low:.1%}, {high:.1%}]"


def _habits(one: ReviewerResult) -> str:
    pace = "" if isinstance(one.median_s, Unavailable) else f", {one.median_s:.1f} s each"
    return pace if isinstance(one.first, Unavailable) else f"{pace}, A in {one.first:.0%} of the choices between A and B"
