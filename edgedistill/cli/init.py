"""The command init: asks for the content of a recipe and writes it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edgedistill.cli.output import finish

if TYPE_CHECKING:
    from edgedistill.records.catalogue import NewRecipe


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
        from edgedistill.recipe.starter import first_recipe, starters
        from edgedistill.records.catalogue import NewRecipe
        from edgedistill.tasks import DEFAULT

        if path.exists():
            raise UserError(f"{path} exists; choose another name, or remove it")
        known = starters()
        chosen = task or answer(f"Task ({', '.join(known)})", DEFAULT)
        # What is no task stands among the mistakes.
        starter = known.get(chosen, known[DEFAULT])
        source = data or answer(f"Data ({starter.data})", starter.default)
        asked = targets or [t.strip() for t in answer(f"Targets ({', '.join(starter.targets)})", starter.targets[0]).split(",")]
        write_text(path, first_recipe(path, task=chosen, data=source, targets=asked))
        return NewRecipe(path=str(path), command=load_recipe(str(path), trust_code=starter.names_code).command)

    finish(as_json, work, lambda written: print(f"{written.path} is written. Run it:\n  {written.command}"))
