"""The command doctor."""

from typing import Any

from edgedistill.cli.output import finish


def doctor(*, as_json: bool) -> None:
    """Tell what works here."""

    def work() -> dict[str, Any]:
        from edgedistill.doctor.examine import doctor as examine

        return examine()

    finish(as_json, work, _show)


def _show(document: dict[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    from edgedistill.cli.tables import console

    screen = console()
    table = Table(title="What works on this machine")
    for name in ("", "status"):
        table.add_column(name, no_wrap=True)
    for name in ("found", "needed for"):
        table.add_column(name)
    for row in document["rows"]:
        # What was found may hold brackets, which are no markup.
        table.add_row(*(Text(text) for text in (row["name"], row["status"], row["found"], row["needed_for"])))
    screen.print(table)
    for row in document["rows"]:
        if row["status"] != "ok":
            screen.print(f"{row['name']} ({row['status']}): {row['get']}", markup=False, highlight=False, soft_wrap=True)
    if document["failed"]:
        print(f"NOT WORKING, and needed for the default targets: {', '.join(document['failed'])}")
    elif missing := next((row for row in document["rows"] if row["name"] == "extra export" and row["status"] == "missing"), None):
        print(f"All that is installed works. The default targets need more to export and verify: {missing['get']}")
    else:
        print("All that the default targets need works.")
