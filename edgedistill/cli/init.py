"""The command init: asks for the content of a recipe and writes it."""

from pathlib import Path
from typing import Any

import typer

from edgedistill.cli.output import finish

_TASK, _DATA, _TARGET = "image-classification", "sklearn-digits", "android"


def init(path: Path, task: str | None, data: str | None, targets: list[str], *, as_json: bool) -> None:
    """Write a recipe to `path`. It asks for missing values, or uses their defaults with --json."""

    def answer(question: str, default: str) -> str:
        from edgedistill.errors import UserError

        if as_json:
            return default
        try:
            return str(typer.prompt(question, default=default, err=True))
        except typer.Abort as error:
            raise UserError("no answer; give --task, --data and --target instead") from error

    def work() -> dict[str, Any]:
        from edgedistill.errors import UserError
        from edgedistill.files import write_text
        from edgedistill.recipe.loading import load_recipe
        from edgedistill.recipe.starter import starter

        if path.exists():
            raise UserError(f"{path} exists; choose another name, or remove it")
        chosen = {
            "task": task or answer("Task", _TASK),
            "data": data or answer("Data (a folder of class folders, a .npz or .csv file, or sklearn-digits)", _DATA),
        }
        asked = targets or [t.strip() for t in answer("Targets (ios, android, raspberry-pi, linux)", _TARGET).split(",")]
        write_text(path, starter(path, **chosen, targets=asked))
        return {"path": str(path), "command": load_recipe(str(path)).command}

    finish(as_json, work, lambda document: print(f"{document['path']} is written. Run it:\n  {document['command']}"))
