"""What runtimes leave to slow kernels in each artifact of a run, and the budgets that its targets set for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from edgedistill.backends import backend
from edgedistill.errors import DeviceFailed
from edgedistill.records.steps import StepFailed
from edgedistill.run import Run, Step
from edgedistill.steps.parallel import parallel
from edgedistill.steps.wanted import files_of

if TYPE_CHECKING:
    from pathlib import Path

    from edgedistill.recipe.schema import Recipe
    from edgedistill.records import ArtifactResult, ArtifactSpec, Delegation, Unavailable, UnknownDelegation


def examine(run: Run, recipe: Recipe, specs: list[ArtifactSpec], targets: list[str], *, keep: bool = False, again: bool = False) -> None:
    """Report the delegation of every artifact in a step `delegation-NAME`, and note the budgets of `targets` in the step `budgets`.

    With `keep` the budgets of earlier targets stay. A file that its runtime does not open is recorded as that artifact's error.
    """
    from edgedistill.backends.delegation import delegation

    def report(name: str) -> None:
        spec = next(s for s in specs if s.name == name)
        facts = backend(spec.format)

        def work(_: Path) -> Delegation | UnknownDelegation | Unavailable | StepFailed:
            try:
                return delegation(spec.format, run.path(spec.path))
            except DeviceFailed as error:
                return StepFailed(error=str(error))

        step = Step(
            f"delegation-{spec.name}",
            reads=(spec.path,),
            code=(facts.delegation,) if facts.delegation else (),
            packages=facts.packages,
        )
        run.step(step, work, again=again)

    parallel("delegation", [spec.name for spec in specs], report)
    earlier = (run.result("budgets") or {}) if keep else {}
    limits = earlier | {target: limit for name in targets for target, limit in _limits(recipe, name).items()}
    run.step(Step("budgets", limits), lambda _: limits)


def _limits(recipe: Recipe, target: str) -> dict[str, Any]:
    """{name of the target: {"artifacts": names, "limits": {budget: limit}}}."""
    from edgedistill.recipe.targets import load_target

    definition = load_target(target)
    names = [spec.name for spec in files_of(definition.budgeted, recipe)]
    return {definition.name: {"artifacts": names, "limits": definition.budgets.model_dump(exclude_none=True)}}


def of_targets(artifacts: Iterable[ArtifactResult], targets: list[str]) -> list[ArtifactResult]:
    """The same artifacts with the budgets of `targets` only: an export is judged by what it was asked for."""
    from edgedistill.recipe.targets import load_target

    names = {load_target(target).name for target in targets}
    return [a.model_copy(update={"budgets": [b for b in a.budgets if names & set(b.targets)]}) for a in artifacts]
