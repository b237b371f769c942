"""The command init: asks for what a recipe needs, and writes it."""

from pathlib import Path
from typing import Any

import typer

from edgedistill.cli.output import finish

_TASK, _DATA, _TARGET = "image-classification", "sklearn-digits", "android"


def init(path: Path, task: str | None, data: str | None, targets: list[str], *, as_json: bool) -> None:
    """Write a recipe to `path`; what is not given is asked for on a terminal, and with --json has its default."""
    if not as_json:
        task = task or _ask("Task", _TASK)
        data = data or _ask("Data (a folder of class folders, a .npz or .csv file, or sklearn-digits)", _DATA)
        targets = targets or [t.strip() for t in _ask("Targets (ios, android, raspberry-pi, linux)", _TARGET).split(",")]

    def work() -> dict[str, Any]:
        from edgedistill.errors import UserError
        from edgedistill.files import write_text
        from edgedistill.recipe.load import load_recipe
        from edgedistill.recipe.starter import starter

        if path.exists():
            raise UserError(f"{path} exists; choose another name, or remove it")
        write_text(path, starter(path, task=task or _TASK, data=data or _DATA, targets=targets or [_TARGET]))
        return {"path": str(path), "command": load_recipe(str(path)).command}

    finish(as_json, work, lambda document: print(f"{document['path']} is written. Run it:\n  {document['command']}"))


def _ask(question: str, default: str) -> str:
    """An answer from the terminal; the question goes to stderr, since stdout is for the result."""
    return str(typer.prompt(question, default=default, err=True))
