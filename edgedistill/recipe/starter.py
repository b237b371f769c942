"""A first recipe for a user's own data, commented."""

import re
import shlex
from pathlib import Path

from edgedistill.errors import UserError
from edgedistill.recipe.base import RecipeError, nearest
from edgedistill.recipe.targets import list_targets
from edgedistill.tasks import tasks
from edgedistill.tasks.base import Starter

_TEMPLATE = """# {command}
# Made by `edgedistill init`; docs/recipes.md has every field, and each that is left out has a default.
name: {name}
task: {task}
seed: 0                           # of splits, initial weights, order and augmentation
{parts}targets: [{targets}]
"""


def starters() -> dict[str, Starter]:
    """What a first recipe of each task is written from, by the name of the task; tasks without one are left out."""
    by_task = {name: task.starter() for name, task in tasks().items()}
    return {name: starter for name, starter in by_task.items() if starter is not None}


def first_recipe(path: Path, *, task: str, data: str, targets: list[str]) -> str:
    """The text of a recipe for `path`.

    data: the user's data, as `Starter.data` says what they are.

    Raises RecipeError, with every mistake at once, when there is no such task, data or target.
    """
    errors, parts, known, targets_known = [], "", starters(), list_targets()
    if task not in known:
        errors.append(f"task: found '{task}', expected one of {', '.join(known)}{nearest(task, known)}")
    else:
        try:
            parts = known[task].parts(data)
        except UserError as error:
            errors.append(f"data: {error}")
    errors += [
        f"target: found '{t}', expected one of {', '.join(targets_known)}{nearest(t, targets_known)}"
        for t in targets
        if t not in targets_known
    ]
    if errors:
        raise RecipeError(str(path), errors)
    name = re.sub(r"[^A-Za-z0-9._-]", "-", path.stem).lstrip("._-")[:64] or "recipe"
    trusted = ["--trust-code"] if known[task].names_code else []
    command = shlex.join(["edgedistill", "run", str(path), *trusted])
    return _TEMPLATE.format(command=command, name=name, task=task, parts=parts, targets=", ".join(targets))
