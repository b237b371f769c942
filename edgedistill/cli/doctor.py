"""The command doctor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgedistill.cli.output import finish

if TYPE_CHECKING:
    from edgedistill.records.doctor import Diagnosis


def doctor(*, as_json: bool) -> None:
    """Tell what works here."""

    def work() -> Diagnosis:
        from edgedistill.doctor.examine import doctor as examine

        return examine()

    finish(as_json, work, _show)


def _show(diagnosis: Diagnosis) -> None:
    from rich.table import Table
    from rich.text import Text

    from edgedistill.cli.tables import console

    screen = console()
    table = Table(title="What works on this machine")
    for name in ("", "status"):
        table.add_column(name, no_wrap=True)
    for name in ("found", "needed for"):
        table.add_column(name)
    for row in diagnosis.rows:
        # What was found may hold brackets, which are no markup.
        table.add_row(*(Text(text) for text in (row.name, row.status, row.found, row.needed_for)))
    screen.print(table)
    for row in diagnosis.rows:
        if row.status != "ok":
            screen.print(f"{row.name} ({row.status}): {row.get}", markup=False, highlight=False, soft_wrap=True)
    if diagnosis.failed:
        print(f"NOT WORKING, and needed for the default targets: {', '.join(diagnosis.failed)}")
    elif missing := next((row for row in diagnosis.rows if row.name == "extra export" and row.status == "missing"), None):
        print(f"All that is installed works. The default targets need more to export and verify: {missing.get}")
    else:
        print("All that the default targets need works.")
