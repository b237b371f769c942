"""The steps that let models do whole samples, where a task has such trials: the rungs of PyTorch, and each file in its runtime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from edgedistill import tasks
from edgedistill.backends import backend
from edgedistill.errors import DeviceFailed
from edgedistill.export.programs import load_signature
from edgedistill.measure.adapters import executor_of, not_here
from edgedistill.progress import track
from edgedistill.run import Run, Step
from edgedistill.steps.declared import program_files
from edgedistill.steps.execute import method_of
from edgedistill.tasks.data import chosen
from edgedistill.verify import stored

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from edgedistill.recipe.schema import Recipe
    from edgedistill.records import ArtifactSpec
    from edgedistill.tasks.data import Dataset


def make(
    run: Run, recipe: Recipe, specs: list[ArtifactSpec], split: str = "val", rungs: Sequence[str] = ("teacher", "control", "student"), *,
    again: bool = False, before: Callable[[], None] = lambda: None,
) -> None:  # fmt: skip
    """A step for each of the `rungs` that the run has, and for each of the student's files that run here, one after the other.

    A file that does not run has its error in its record. again: try files anew. before: called before each that is tried, and for none
    that was.
    """
    task = tasks.task(recipe.task)
    if not task.tried(recipe):
        return
    run.check("data")
    data = task.dataset(recipe, run.work("data"))
    rows = chosen(data, split, task.tried(recipe))
    settings = recipe.data.model_dump(mode="json")
    files = [spec for spec in specs if spec.role == "student"]
    known = [name for name in rungs if _answers(run, recipe, name)]

    def rung(name: str, folder: Path) -> dict[str, JsonValue]:
        before()
        return _module(run, recipe, data, rows, name, folder)

    def file(spec: ArtifactSpec, folder: Path) -> dict[str, JsonValue]:
        before()
        return _file(run, recipe, data, rows, spec, folder)

    with track("trials" if split == "val" else f"trials on the {split}", len(known) + len(files)) as progress:
        for name in known:
            step = Step(stored.trial(name, split), settings, reads=("work/data", f"work/{name}"), code=("edgedistill.steps.trials",))
            run.step(step, partial(rung, name))
            progress.advance(1, last=name)
        for spec in files:
            run.step(_step(spec, split, settings), partial(file, spec), again=again)
            progress.advance(1, last=spec.name)


def on_holdout(run: Run, recipe: Recipe, specs: list[ArtifactSpec], before: Callable[[], None]) -> None:
    """The same on the holdout, of what the rules of the gate judge: files, and the reference of drops. Nothing else reads it."""
    if recipe.gate is None or not recipe.gate.trials:
        return
    drops = any(rule.max_drop is not None for rule in recipe.gate.trials)
    make(run, recipe, specs, "holdout", (recipe.gate.against,) if drops else (), before=before)


def _answers(run: Run, recipe: Recipe, name: str) -> bool:
    """Whether a run has a rung of PyTorch of this name."""
    if name == "teacher":
        return len(recipe.members) == 1 and tasks.task(recipe.task).tells(recipe.members[0], recipe)
    return run.finished(name)


def _module(run: Run, recipe: Recipe, data: Dataset, rows: np.ndarray, name: str, folder: Path) -> dict[str, JsonValue]:
    from edgedistill.distill.stages import trained

    config, task = recipe.teacher if name == "teacher" else recipe.student, tasks.task(recipe.task)
    module: nn.Module = task.build(config, recipe, data.facts, trained(run.work(name)))
    return task.try_module(module, data, rows, folder)


def _step(spec: ArtifactSpec, split: str, settings: Any) -> Step:
    """The step that tries a file: made of the file, the samples, and what executes it."""
    try:
        adapter = executor_of(spec)
    except DeviceFailed:
        # The step says why nothing does.
        adapter = None
    return Step(
        stored.trial(spec.name, split),
        settings,
        reads=(spec.path, program_files(spec.program)[1], "work/data"),
        code=("edgedistill.steps.trials", *((adapter.module,) if adapter else ())),
        version=2,
        packages=(adapter.package,) if adapter else (),
    )


def _file(run: Run, recipe: Recipe, data: Dataset, rows: np.ndarray, spec: ArtifactSpec, folder: Path) -> dict[str, JsonValue]:
    path = run.path(spec.path)
    try:
        if why := not_here(spec.format, spec.delegate, path):
            return {"unavailable": why}
        adapter = executor_of(spec)
        if not adapter.on_device:
            return {"unavailable": f"{adapter.title or spec.format} is not run here as on a device, and takes too long for whole samples"}
        execution: dict[str, JsonValue] = {
            "adapter": adapter.module,
            "path": str(path),
            "signature": method_of(run, spec).model_dump(mode="json"),
            "threads": recipe.measure.threads,
            "piece": backend(spec.format).prompt_pieces.get(spec.precision),
        }
        state = load_signature(run.work(spec.program)).state
        figures = tasks.task(recipe.task).try_file(data, rows, folder, execution)
        return {**figures, "state_mb": sum(spec.nbytes for spec in state) / 1e6}
    except DeviceFailed as error:
        return {"error": str(error)}
