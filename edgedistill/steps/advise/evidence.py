"""The figures that advice is made of: of the samples, the baseline and the run, as far as they are there and are of this recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgedistill import tasks
from edgedistill.errors import DamagedFile, UserError
from edgedistill.records.baseline import BASELINE_FILE, Baseline, baseline_hash
from edgedistill.records.summary import Summary
from edgedistill.run import Run
from edgedistill.steps import distill
from edgedistill.verify import stored
from edgedistill.verify.scoring import Difference, Scorer

if TYPE_CHECKING:
    from edgedistill.recipe.loading import LoadedRecipe
    from edgedistill.recipe.schema import Recipe
    from edgedistill.tasks.base import Task
    from edgedistill.tasks.requests import Demands

_PARTS = ("task", "seed", "data", "teacher", "student", "distill")


@dataclass(frozen=True)
class Evidence:
    """What is known of a recipe and its run."""

    recipe: Recipe
    task: Task
    run: str
    """The folder of its run."""
    command: str
    """The command that runs the recipe."""
    splits: Mapping[str, int]
    demands: Demands | None = None
    baseline: Baseline | None = None
    summary: Summary | None = None
    gap: Difference | None = None
    """The score of the teacher less that of the control on val, where both gave outputs."""
    control: Mapping[str, Any] = field(default_factory=dict)
    """What is right about whole answers of the control, as its trial told."""
    parameters: Mapping[str, int] = field(default_factory=dict)
    """Of the student and the teacher, as far as they are known."""

    def told(self, word: str, *options: str) -> str:
        """The command `word` for this recipe; of a recipe that a program made, with RECIPE in its place."""
        start, _, rest = self.command.partition("edgedistill run ")
        return " ".join(["edgedistill", word, "RECIPE" if start else rest, *options])


def gathered(run: Run, loaded: LoadedRecipe) -> Evidence:
    """The evidence of a recipe, whose data are prepared in `run` where they are not.

    Raises UserError where the run was trained by a recipe with other parts: its figures say nothing of this one.
    """
    recipe, effective = loaded.recipe, loaded.effective()
    task = tasks.task(recipe.task)
    summary = _summary(run, effective)
    facts = distill.prepared_data(run, loaded) if summary is None else run.made("data")
    data = task.dataset(recipe, run.work("data"))
    trial = run.result(stored.trial("control")) if summary is not None else None
    return Evidence(
        recipe=recipe,
        task=task,
        run=str(run.shown),
        command=loaded.command,
        splits=facts["splits"],
        demands=task.demands(recipe, data),
        baseline=_baseline(run, effective),
        summary=summary,
        gap=None if summary is None else Scorer(run, recipe).difference("teacher", "control"),
        control=trial or {},
        parameters=_parameters(run, recipe, data.facts),
    )


def _summary(run: Run, effective: Mapping[str, Any]) -> Summary | None:
    """The summary of the run; None where it was not trained yet."""
    if not run.path("summary.json").exists():
        return None
    summary = Summary.read(run.path("summary.json"))
    if changed := [name for name in _PARTS if summary.recipe.effective.get(name) != effective[name]]:
        raise UserError(
            f"{run.shown} was trained by a recipe with another {', '.join(changed)}, expected this recipe: run it again, or give it "
            "another name or --runs-dir"
        )
    return summary


def _baseline(run: Run, effective: dict[str, Any]) -> Baseline | None:
    try:
        made = Baseline.read(run.path(BASELINE_FILE))
    except DamagedFile:
        return None
    return made if made.recipe_sha256 == baseline_hash(effective) else None


def _parameters(run: Run, recipe: Recipe, facts: Any) -> dict[str, int]:
    """How many parameters the student and the teachers together have, where that is known."""
    module = tasks.task(recipe.task).build(recipe.student, recipe, facts)
    found = {"student": sum(parameter.numel() for parameter in module.parameters())}
    taught = [(run.result(step) or {}).get("parameters") for step in recipe.teacher_steps]
    known = [count for count in taught if count is not None]
    return found | {"teacher": sum(known)} if len(known) == len(taught) else found
