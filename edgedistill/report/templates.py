"""The templates of the HTML pages, and how a table's cell is put into them."""

from pathlib import Path
from typing import Any

from edgedistill.report.values import Cell

_SHORT = 70


def environment() -> Any:
    """Where the templates are: everything that is put into them is escaped, and a name that is missing is an error."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def shown(cell: Cell, notes: list[str]) -> tuple[str, int | None]:
    """A cell's text and the number of the note with the whole reason, where the text had to be cut."""
    if cell.kind != "unavailable" or len(cell.text) <= _SHORT * cell.span:
        return cell.text, None
    if cell.full not in notes:
        notes.append(cell.full)
    return cell.text[: _SHORT * cell.span - 1].rstrip() + "…", notes.index(cell.full) + 1
