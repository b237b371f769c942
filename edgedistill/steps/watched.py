"""What a bundle carries for the weeks after the launch: the router's decision table, and what answers were like when the model was made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import JsonValue

from edgedistill.gate.router import ENTRY, ROUTER_FILE
from edgedistill.progress import log
from edgedistill.records.router import RouterDocument

if TYPE_CHECKING:
    from edgedistill.recipe.schema import Recipe
    from edgedistill.records import ArtifactResult
    from edgedistill.run import Run


def watched(run: Run, recipe: Recipe, artifacts: Sequence[ArtifactResult]) -> dict[str, JsonValue]:
    """The entries of the manifest of a bundle of `artifacts`."""
    return {ENTRY: table} if (table := _table(run, artifacts)) is not None else {}


def _table(run: Run, artifacts: Sequence[ArtifactResult]) -> JsonValue:
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
    return document.table.model_copy(update={"thresholds": thresholds}).model_dump(mode="json")
