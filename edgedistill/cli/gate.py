"""The command gate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgedistill.cli.output import finish
from edgedistill.cli.tables import console

if TYPE_CHECKING:
    from edgedistill.records.gate import Check, Gated


def gate(run_folder: Path | None, out: Path | None, key: Path | None, runs_dir: Path, *, as_json: bool) -> None:
    """Decide whether the files of a run may ship. run_folder: by default the newest run in `runs_dir`."""

    def work() -> Gated:
        from edgedistill.runs import newest
        from edgedistill.steps.gate import gate

        return gate(newest(runs_dir) if run_folder is None else run_folder, out=out, key=key)

    finish(as_json, work, _show)


def _show(document: Gated) -> None:
    from rich.table import Table
    from rich.text import Text

    card, screen = document.card, console()
    table = Table(title=f"Rules of the gate, bounds of {card.confidence:g} confidence")
    for column in ("file", "rule", "figure", "bound", "limit", ""):
        table.add_column(column, justify="right" if column in ("figure", "bound", "limit") else "left")
    for check in card.checks:
        table.add_row(*map(Text, _row(check)))
    screen.print(table)
    for line in [*(f"FAILED: {text}" for text in card.failed), *(f"note: {text}" for text in card.holdout.warnings)]:
        screen.print(line, markup=False, highlight=False, soft_wrap=True)
    signed = "not signed" if document.signature is None else "signed"
    verdict = "passed" if document.status == "ok" else "failed"
    screen.print(f"The gate {verdict}. Release card, {signed}: {document.file}, {document.page}", markup=False, soft_wrap=True)


def _row(check: Check) -> list[str]:
    from edgedistill.gate.decide import shown
    from edgedistill.records import Unavailable

    title = check.title + (f": {check.part}" if check.part else "")
    ok = {True: "ok", False: "FAILED", None: "unavailable"}[check.ok]
    if isinstance(check.value, Unavailable):
        return [check.file, title, "-", "-", _limit(check), ok]
    value = ("yes" if check.value else "no") if check.limit is None else shown(check.value, check.unit)
    return [check.file, title, value, "-" if check.bound is None else shown(check.bound, check.unit), _limit(check), ok]


def _limit(check: Check) -> str:
    from edgedistill.gate.decide import shown

    return "-" if check.limit is None else f"{check.sense} {shown(check.limit, check.unit)}"
