"""Shows what `export` made of any module: a row for each output of each file."""

from __future__ import annotations

from typing import Any

from edgedistill.cli.tables import console


def show_tensors(document: dict[str, Any]) -> None:
    """The table of outputs, and what could not be executed or failed."""
    from rich.table import Table

    screen = console()
    table = Table(title=document["run"])
    for title in ("artifact", "output", "largest difference", "mean", "worst sample", "SNR in dB", "holds"):
        table.add_column(title)
    for row in document["artifacts"]:
        for name, error in row.get("outputs", {}).items():
            largest, mean = (_share(error[key]) for key in ("largest", "mean"))
            worst, snr = ("-" if error[key] is None else f"{error[key]:.3g}" for key in ("worst", "snr_db"))
            table.add_row(row["name"], name, largest, mean, worst, snr, "yes" if error["ok"] else "NO")
    screen.print(table)
    screen.print("Differences are from the float module, as a share of the range of the output.", soft_wrap=True)
    for row in document["artifacts"]:
        if "unavailable" in row:
            failed = "FAILED" if row["ok"] is False else "not executed"
            screen.print(f"{row['name']} {failed}: {row['unavailable']}", soft_wrap=True, markup=False)
        if row.get("mixed"):
            screen.print(f"{row['name']} is mixed: {', '.join(row['mixed'])} compute in floating point", soft_wrap=True, markup=False)


def _share(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.2%}"
