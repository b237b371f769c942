"""The command init: asks for the content of a recipe and writes it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edgedistill.cli.output import finish

if TYPE_CHECKING:
    from edgedistill.records.catalogue import NewRecipe

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

    def work() -> NewRecipe:
        from edgedistill.errors import UserError
        from edgedistill.files import write_text
        from edgedistill.recipe.loading import load_recipe
        from edgedistill.recipe.starter import starter
        from edgedistill.records.catalogue import NewRecipe

        if path.exists():
            raise UserError(f"{path} exists; choose another name, or remove it")
        chosen = {
            "task": task or answer("Task", _TASK),
            "data": data or answer("Data (a folder of class folders, a .npz or .csv file, or sklearn-digits)", _DATA),
        }
        asked = targets or [t.strip() for t in answer("Targets (ios, android, raspberry-pi, linux)", _TARGET).split(",")]
        write_text(path, starter(path, **chosen, targets=asked))
        return NewRecipe(path=str(path), command=load_recipe(str(path)).command)

    finish(as_json, work, lambda written: print(f"{written.path} is written. Run it:\n  {written.command}"))
