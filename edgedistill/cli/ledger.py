"""The commands ledger verify, ledger show and ledger remove."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgedistill.cli.options import NOTHING, RUNS, Json, RunsDir

if TYPE_CHECKING:
    from edgedistill.records.ledger import LedgerCheck, LedgerExample, LedgerSummary, Removal, TaughtSet
    from edgedistill.steps.ledger import Named

app = typer.Typer(
    help="The ledger of what the runs in a folder were taught: verify it, show it, or remove an example.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_Example = Annotated[str | None, typer.Argument(metavar="[HASH]", help="The keyed hash of an example, 32 hexadecimal digits.")]
_Row = Annotated[int | None, typer.Option("--row", help="Name the example by a row of the ledger.")]
_Run = Annotated[str | None, typer.Option("--run", metavar="NAME", help="Name it by a run that learned it; goes with --sample.")]
_Sample = Annotated[int | None, typer.Option("--sample", metavar="N", help="Its number among the samples of --run, from 0.")]
_File = Annotated[Path | None, typer.Option("--file", help="Name it by a file with its content: an image, or the text alone.")]


@app.command("verify")
def verify(
    head: Annotated[list[str], typer.Option("--head", metavar="LINK", help="A head that was noted elsewhere; repeatable.")] = NOTHING,
    runs_dir: RunsDir = RUNS,
    as_json: Json = False,
) -> None:
    """Prove that every row is what was appended; exit code 3 if not, and the row that is not is named."""
    from edgedistill.cli.output import finish

    def work() -> LedgerCheck:
        from edgedistill.steps import ledger

        return ledger.verify_ledger(runs_dir, head)

    finish(as_json, work, _show_check)


@app.command("show")
def show(
    example: _Example = None, row: _Row = None, run: _Run = None, sample: _Sample = None, file: _File = None, runs_dir: RunsDir = RUNS,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Show all sets, or where an example came from, who taught it, and which runs learned it."""
    from edgedistill.cli.output import finish

    def work() -> LedgerSummary | LedgerExample:
        from edgedistill.steps import ledger

        return ledger.show(runs_dir, _named(example, row, run, sample, file))

    finish(as_json, work, _show_found)


@app.command("remove")
def remove(
    example: _Example = None, row: _Row = None, run: _Run = None, sample: _Sample = None, file: _File = None,
    reason: Annotated[str | None, typer.Option("--reason", help="Why; the ledger keeps it, so that it should name nobody.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list the runs, and what would be erased.")] = False,
    runs_dir: RunsDir = RUNS, as_json: Json = False,
) -> None:  # fmt: skip
    """Remove an example: note it, erase it in runs and caches, and list the runs that have to be made again."""
    from edgedistill.cli.output import finish

    def work() -> Removal:
        from edgedistill.steps import ledger

        return ledger.remove_example(runs_dir, _named(example, row, run, sample, file), reason, dry_run=dry_run)

    finish(as_json, work, _show_removal)


def _named(example: str | None, row: int | None, run: str | None, sample: int | None, file: Path | None) -> Named:
    from edgedistill.errors import UserError
    from edgedistill.steps.ledger import Named

    if (run is None) != (sample is None):
        raise UserError("found one of --run and --sample, expected both")
    return Named(example, row, None if run is None or sample is None else (run, sample), file)


def _show_check(document: LedgerCheck) -> None:
    for problem in document.problems:
        print(f"WRONG: {problem}")
    state = "ok" if document.status == "ok" else "check failed"
    print(f"{document.ledger}: {document.rows:,} rows in {document.segments} segments, head {document.head}: {state}")


def _show_found(document: Any) -> None:
    if hasattr(document, "entries"):
        print(f"example {document.example}")
        for entry in document.entries:
            gone = f", removed {entry.removed}" if entry.removed else ""
            print(f"  row {entry.row}: sample {entry.place} of set {entry.set}, {entry.split}, {entry.time}{gone}")
    else:
        print(f"{document.ledger}: {document.rows:,} rows, {document.examples:,} of examples, {document.removed:,} removed")
        print(f"head {document.head}")
    for one in document.sets:
        _show_set(one)


def _show_set(one: TaughtSet) -> None:
    splits = ", ".join(f"{count:,} {split}" for split, count in one.splits.items())
    print(f"set {one.row}, {one.time}: {splits}; learned by {', '.join(one.runs) or 'no run'}")
    given = one.facts.get("teacher") or []
    teachers = [
        f"{teacher['name']} {teacher.get('version', '')[:12]}".strip() for teacher in (given if isinstance(given, list) else [given])
    ]
    licence = one.facts.get("licence") or "not said"
    print(f"  source {one.facts.get('source')}, licence {licence}, teacher {', '.join(teachers) or 'none'}; --json has the rest")


def _show_removal(document: Removal) -> None:
    done = f"removed, row {document.row}" if document.row is not None else "would be removed"
    print(f"example {document.example}: {done}")
    for path in document.erased:
        print(f"  {'erased' if document.row is not None else 'holds it, or what came of it:'} {path}")
    if document.answers:
        print(f"  erased {document.answers} recorded answers")
    if document.runs:
        print(f"learned by {', '.join(document.runs)}: remove the example from the source, and run their recipes again")
