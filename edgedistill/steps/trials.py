"""The steps that let models do whole samples, where a task has such trials: the rungs of PyTorch, and each file in its runtime."""

from __future__ import annotations

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

if TYPE_CHECKING:
    from torch import nn

    from edgedistill.recipe.schema import Recipe
    from edgedistill.records import ArtifactSpec
    from edgedistill.tasks.data import Dataset


def make(run: Run, recipe: Recipe, specs: list[ArtifactSpec], *, again: bool = False) -> None:
    """A step `trial-NAME` for the teacher, the control, the student and each of its files that run here, one after the other.

    A file that does not run has its error in its record. again: try files anew.
    """
    task = tasks.task(recipe.task)
    if not task.tried(recipe):
        return
    run.check("data")
    data = task.dataset(recipe, run.work("data"))
    chosen = [spec for spec in specs if spec.role == "student"]
    rungs = [name for name in ("teacher", "control", "student") if _answers(run, recipe, name)]
    settings = recipe.data.model_dump(mode="json")
    with track("trials", len(rungs) + len(chosen)) as progress:
        for name in rungs:
            step = Step(f"trial-{name}", settings, reads=("work/data", f"work/{name}"), code=("edgedistill.steps.trials",))
            run.step(step, partial(_module, run, recipe, data, name))
            progress.advance(1, last=name)
        for spec in chosen:
            run.step(_step(spec, settings), partial(_file, run, recipe, data, spec), again=again)
            progress.advance(1, last=spec.name)


def _answers(run: Run, recipe: Recipe, name: str) -> bool:
    """Whether a run has a rung of PyTorch of this name."""
    if name == "teacher":
        return len(recipe.members) == 1 and tasks.task(recipe.task).tells(recipe.members[0], recipe)
    return run.finished(name)


def _module(run: Run, recipe: Recipe, data: Dataset, name: str, folder: Path) -> dict[str, JsonValue]:
    from edgedistill.distill.stages import trained

    config = recipe.teacher if name == "teacher" else recipe.student
    task = tasks.task(recipe.task)
    module: nn.Module = task.build(config, recipe, data.facts, trained(run.work(name)))
    return task.try_module(module, data, chosen(data, "val", task.tried(recipe)), folder)


def _step(spec: ArtifactSpec, settings: Any) -> Step:
    """The step that tries a file: made of the file, the samples, and what executes it."""
    try:
        adapter = executor_of(spec)
    except DeviceFailed:
        # The step says why nothing does.
        adapter = None
    return Step(
        f"trial-{spec.name}",
        settings,
        reads=(spec.path, program_files(spec.program)[1], "work/data"),
        code=("edgedistill.steps.trials", *((adapter.module,) if adapter else ())),
        version=2,
        packages=(adapter.package,) if adapter else (),
    )


def _file(run: Run, recipe: Recipe, data: Dataset, spec: ArtifactSpec, folder: Path) -> dict[str, JsonValue]:
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
        task = tasks.task(recipe.task)
        figures = task.try_file(data, chosen(data, "val", task.tried(recipe)), folder, execution)
        return {**figures, "state_mb": sum(spec.nbytes for spec in state) / 1e6}
    except DeviceFailed as error:
        return {"error": str(error)}
