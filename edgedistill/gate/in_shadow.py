"""The rule on the shadow phase: how far a file disagrees with its teacher on real requests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgedistill.errors import DamagedFile
from edgedistill.files import sha256_file
from edgedistill.gate.evidence import Evidence
from edgedistill.gate.figures import Figure, check
from edgedistill.gate.shadow.tally import DOCUMENT
from edgedistill.recipe.gate import Shadow
from edgedistill.records import ArtifactResult, Unavailable
from edgedistill.records.gate import Check, Source
from edgedistill.records.shadow import ShadowDocument

_ROUNDING = 1e-9


def checks(found: Evidence, file: ArtifactResult, rule: Shadow) -> Iterator[Check]:
    """Whether the newest shadow phase of the bytes of `file` ended inside its tolerance, and whether that is small enough."""
    figures = _figures(found, file, rule)
    yield check(rule, "shadow", "Disagreement in the shadow inside its tolerance", file.name, figures[0])
    yield check(rule, "shadow.max", "Tolerance in the shadow", file.name, figures[1], rule.max, "at most", "share")


def _figures(found: Evidence, file: ArtifactResult, rule: Shadow) -> tuple[Figure, Figure]:
    """The decision, and the tolerance that it is about."""
    how = "requests that the teacher answered and the file too, unseen by users"
    try:
        newest = _newest(Path(rule.folder), file.sha256)
    except DamagedFile as error:
        figure = Figure(Unavailable(unavailable=str(error)), how)
        return figure, figure
    if newest is None:
        run = f"`edgedistill shadow {found.run.shown} --artifact {file.name} --out {rule.folder}`"
        figure = Figure(Unavailable(unavailable=f"{rule.folder} has no shadow phase of this file; run {run}"), how)
        return figure, figure
    document, path = newest
    source = Source(path=str(path), sha256=sha256_file(path), time=document.created)
    low, high = (f"{100 * end:.2f}" for end in document.interval)
    how += f", {document.mode} of {document.source}: {document.disagreements} of {document.n} disagree, {low}% to {high}% at every look"
    how += f" with a probability of {1 - document.alpha:g}; {document.decision}"
    if document.alpha > 1 - found.gate.confidence + _ROUNDING:
        why = f"its alpha is {document.alpha:g}, expected {1 - found.gate.confidence:.3g} at most, as gate.confidence says"
        decided = Figure(Unavailable(unavailable=why), how, source=source)
    else:
        decided = Figure(float(document.decision == "inside"), how, n=document.n, source=source)
    return decided, Figure(document.tolerance, how, source=source)


def _newest(folder: Path, sha256: str) -> tuple[ShadowDocument, Path] | None:
    """The newest document of a file with this hash in `folder` and in the folders in it; an older one never stands in for it."""
    paths = [path for path in (folder / DOCUMENT, *sorted(folder.glob(f"*/{DOCUMENT}"))) if path.is_file()]
    every = [(ShadowDocument.read(path), path) for path in paths]
    return max((one for one in every if one[0].sha256 == sha256), key=lambda one: one[0].created, default=None)
