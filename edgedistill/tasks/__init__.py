"""Tasks: what each knows of its samples, models and outputs. Nothing here imports torch.

A task is a plug-in: a package that adds one registers an instance of `Task` in the entry point group `edgedistill.tasks`.
"""

from __future__ import annotations

import functools
from importlib.metadata import entry_points

from edgedistill.errors import UserError
from edgedistill.tasks.base import Task

__all__ = ["DEFAULT", "GROUP", "Task", "task", "tasks"]

GROUP = "edgedistill.tasks"
DEFAULT = "image-classification"
"""The task of a recipe that names none."""


@functools.cache
def tasks() -> dict[str, Task]:
    """All tasks by name, the project's own first.

    Raises UserError when two packages register one name, with the names of both, or when an entry point is no Task.
    """
    found: dict[str, Task] = {}
    owners: dict[str, str] = {}
    for owner, loaded in [*_own(), *_registered()]:
        if not isinstance(loaded, Task):
            raise UserError(f"{owner} registers {type(loaded).__name__} as {GROUP}, expected an instance of edgedistill.tasks.Task")
        if loaded.name in found:
            both = f"{owners[loaded.name]} and {owner}"
            raise UserError(f"two packages register the task '{loaded.name}': {both}; uninstall one of them")
        found[loaded.name], owners[loaded.name] = loaded, owner
    return found


def task(name: str) -> Task:
    """The task of that name. Raises UserError with the known names for another one."""
    if name not in tasks():
        raise UserError(f"found the task '{name}', expected one of {', '.join(tasks())}")
    return tasks()[name]


def _own() -> list[tuple[str, object]]:
    from edgedistill.tasks.image_classification.task import IMAGE_CLASSIFICATION

    return [("edgedistill", IMAGE_CLASSIFICATION)]


def _registered() -> list[tuple[str, object]]:
    """What other packages register, by the name of the package."""
    others = [point for point in entry_points(group=GROUP) if point.dist is None or point.dist.name != "edgedistill"]
    return [(point.dist.name if point.dist else point.value, point.load()) for point in others]
