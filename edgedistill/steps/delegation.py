"""What runtimes leave to slow kernels in each artifact of a run, and the budgets that its targets set for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgedistill.errors import DeviceFailed
from edgedistill.run import Run
from edgedistill.steps.artifacts import parallel

if TYPE_CHECKING:
    from edgedistill.records import ArtifactSpec


def examine(state: Run, specs: list[ArtifactSpec], targets: list[str], *, keep: bool = False, again: bool = False) -> None:
    """Report the delegation of every artifact in a step `delegation-NAME`, and note the budgets of `targets` in the step `budgets`.

    With `keep` the budgets of earlier targets stay. A file that its runtime does not open is recorded as that artifact's error.
    """
    from edgedistill.backends.delegation import delegation

    def one(name: str) -> None:
        spec = next(s for s in specs if s.name == name)
        step = f"delegation-{spec.name}"
        if again or "error" in (state.result(step) or {}):
            state.forget(step)

        def work(_: Any) -> dict[str, Any]:
            try:
                return delegation(spec.format, state.path(f"export-{spec.format}", spec.name))
            except DeviceFailed as error:
                return {"error": str(error)}

        # Named so that records from before layers were told are made again.
        state.step(step, [state.artifact(name).sha256, "layers"], work)

    parallel("delegation", [spec.name for spec in specs], one)
    earlier = (state.result("budgets") or {}) if keep else {}
    limits = earlier | {target: limit for name in targets for target, limit in _limits(name).items()}
    state.step("budgets", limits, lambda _: limits)


def _limits(target: str) -> dict[str, Any]:
    """{name of the target: {"artifacts": names, "limits": {budget: limit}}}."""
    from edgedistill.recipe.targets import load_target

    found = load_target(target)
    names = [a.spec.name for a in found.budgeted]
    return {found.name: {"artifacts": names, "limits": found.budgets.model_dump(exclude_none=True)}}


def of_targets(artifacts: list[dict[str, Any]], targets: list[str]) -> list[dict[str, Any]]:
    """The same artifacts with the budgets of `targets` only: an export is judged by what it was asked for."""
    from edgedistill.recipe.targets import load_target

    names = {load_target(target).name for target in targets}
    return [a | {"budgets": [b for b in a["budgets"] if names & set(b["targets"])]} for a in artifacts]
