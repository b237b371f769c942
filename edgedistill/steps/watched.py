"""What a bundle carries for the weeks after the launch: the router's decision table, and what answers were like on val."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import JsonValue

from edgedistill import tasks
from edgedistill.gate.router import ENTRY, ROUTER_FILE, Router
from edgedistill.progress import log
from edgedistill.records.drift import Reference
from edgedistill.records.router import RouterDocument, RouterTable
from edgedistill.steps.opening import summary_of

if TYPE_CHECKING:
    from edgedistill.recipe.schema import Recipe
    from edgedistill.records import ArtifactResult
    from edgedistill.run import Run

ENTRY_OF_REFERENCE = "reference"
"""The entry of a bundle's manifest that holds the answers on val."""


def watched(run: Run, recipe: Recipe, artifacts: Sequence[ArtifactResult]) -> dict[str, JsonValue]:
    """The entries of the manifest of a bundle of `artifacts`."""
    table = _table(run, artifacts)
    reference = _reference(run, recipe, [artifact.name for artifact in artifacts], table)
    entries = {ENTRY: table, ENTRY_OF_REFERENCE: reference}
    return {name: record.model_dump(mode="json") for name, record in entries.items() if record is not None}


def reference_of_run(run: Run) -> Reference | None:
    """The answers on val of each file of a run's student; None where its task has no confidence."""
    from edgedistill.steps.report import recipe_of

    summary = summary_of(run)
    file = run.path(ROUTER_FILE)
    table = RouterDocument.read(file).table if file.is_file() else None
    names = [artifact.name for artifact in summary.artifacts if artifact.role == "student"]
    return _reference(run, recipe_of(summary), names, table)


def _table(run: Run, artifacts: Sequence[ArtifactResult]) -> RouterTable | None:
    """The table of `edgedistill route`; None where there is none of these files."""
    if not (file := run.path(ROUTER_FILE)).is_file():
        return None
    document = RouterDocument.read(file)
    known = {routed.name: routed.sha256 for routed in document.artifacts}
    if other := [artifact.name for artifact in artifacts if known.get(artifact.name) != artifact.sha256]:
        todo = f"`edgedistill route {run.shown}` makes it anew"
        log(f"the bundle has no router: {ROUTER_FILE} is not of {', '.join(other)} as it is now; {todo}")
        return None
    thresholds = {artifact.name: document.table.thresholds[artifact.name] for artifact in artifacts}
    return document.table.model_copy(update={"thresholds": thresholds})


def _reference(run: Run, recipe: Recipe, artifacts: Sequence[str], table: RouterTable | None) -> Reference | None:
    """What each of `artifacts` answered, by the confidence of `table`, or the first measure of the task."""
    from edgedistill.gate.drift import Traces, answered
    from edgedistill.steps.answers import answers

    task, given, found = tasks.task(recipe.task), answers(run, recipe), {}
    names, router = task.decision_names(recipe, given.facts), None if table is None else Router.of(table, None)
    for artifact in artifacts:
        measures, outputs = given.confidences(artifact), given.outputs(artifact)
        if not measures or outputs is None:
            continue
        router = router or Router(task.name, next(iter(measures)), None)
        decided = None if task.writes else task.decide(outputs)
        numbers = [] if decided is None or decided.ndim != 1 else decided.tolist()
        features = given.features(artifact)
        decisions = [names[n] if n < len(names) else str(n) for n in numbers]
        found[artifact] = answered(Traces(router.confidence(outputs, features), decisions, features))
    return None if router is None or not found else Reference(by=router.by, decisions=names, artifacts=found)
