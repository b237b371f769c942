"""Tasks: what each knows of its samples, models and outputs. Nothing here imports torch.

A task is a plug-in: a package that adds one registers an instance of `Task` in the entry point group `edgedistill.tasks`.
"""

from __future__ import annotations

import functools

from edgedistill.errors import UserError
from edgedistill.plugins import registered
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
    from edgedistill.tasks.causal_lm.task import CAUSAL_LM
    from edgedistill.tasks.embedding.task import EMBEDDING
    from edgedistill.tasks.image_classification.task import IMAGE_CLASSIFICATION
    from edgedistill.tasks.tensors.task import TENSORS
    from edgedistill.tasks.text_classification.task import TEXT_CLASSIFICATION

    own = (IMAGE_CLASSIFICATION, TENSORS, TEXT_CLASSIFICATION, EMBEDDING, CAUSAL_LM)
    return registered(GROUP, Task, own, lambda plugin: plugin.name)  # type: ignore[type-abstract]  # only instances are registered


def task(name: str) -> Task:
    """The task of that name. Raises UserError with the known names for another one."""
    if name not in tasks():
        raise UserError(f"found the task '{name}', expected one of {', '.join(tasks())}")
    return tasks()[name]
