"""Which files the targets of a recipe want."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import TYPE_CHECKING

from edgedistill import tasks
from edgedistill.backends import backend, backends
from edgedistill.records import ArtifactSpec

if TYPE_CHECKING:
    from edgedistill.recipe.schema import Recipe
    from edgedistill.recipe.targets import TargetArtifact


def wanted(recipe: Recipe, targets: list[str]) -> list[ArtifactSpec]:
    """The artifacts of `targets`, each once, and a teacher that is lowered as the file that it is measured by."""
    from edgedistill.recipe.targets import load_target

    specs = [spec for name in targets for spec in files_of(load_target(name).artifacts, recipe)]
    holder = next((own.format for own in backends().values() if own.holds_teachers), None)
    teacher = [ArtifactSpec(holder, "fp32", "teacher")] if holder and getattr(recipe.teacher, "lowered", False) else []
    return list(dict.fromkeys([*specs, *(each for spec in teacher for each in _of_sizes(spec, recipe))]))


def files_of(artifacts: Iterable[TargetArtifact], recipe: Recipe) -> list[ArtifactSpec]:
    """The files that `artifacts` of a target are: several where the task has sizes, and the format takes one in a file.

    The largest size comes first: its file takes every sample.
    """
    return [each for artifact in artifacts for each in _of_sizes(artifact.spec, recipe)]


def _of_sizes(spec: ArtifactSpec, recipe: Recipe) -> list[ArtifactSpec]:
    sizes = tasks.task(recipe.task).file_sizes(recipe)
    if not sizes or (backend(spec.format).varying_shapes and spec.delegate is None):
        return [spec]
    every = product(*(reversed(values) for values in sizes.values()))
    return [spec.model_copy(update={"sizes": dict(zip(sizes, each, strict=True))}) for each in every]
