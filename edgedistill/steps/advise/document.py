"""The advice on a recipe: all findings, and what follows from them."""

from __future__ import annotations

from pathlib import Path

from edgedistill.errors import UserError
from edgedistill.packages import require
from edgedistill.recipe.loading import AnyRecipe, load_recipe
from edgedistill.records.advice import Advice, Finding, Severity
from edgedistill.runs import open_run

_ORDER: tuple[Severity, ...] = ("against", "warning", "unknown", "ok")


def advise(recipe: AnyRecipe, runs_dir: str | Path = Path("runs")) -> Advice:
    """Say whether distillation is the right tool for `recipe`, by what its run has by now: baseline, teacher, control, files.

    The data are prepared where they are not yet; nothing is trained. Raises UserError for a recipe that distils nothing.
    """
    loaded = load_recipe(recipe)
    if loaded.recipe.distill is None:
        raise UserError(f"{loaded.path}: found distill: null, expected a recipe with a teacher, since the advice is about distillation")
    require("train", "report")
    from edgedistill.steps.advise import evidence, findings, fit

    with open_run(Path(runs_dir) / loaded.recipe.name) as run:
        known = evidence.gathered(run, loaded)
        found = [*findings.of_models(known), *findings.of_samples(known), *findings.of_baseline(known), *fit.of_targets(known)]
        return concluded(loaded.recipe.name, str(run.shown), found)


def concluded(name: str, run: str, findings: list[Finding]) -> Advice:
    """The advice that follows from findings."""
    ordered = sorted(findings, key=lambda finding: _ORDER.index(finding.severity))
    count = {severity: [finding.severity for finding in findings].count(severity) for severity in _ORDER}
    if count["against"]:
        subjects = " and ".join(finding.subject for finding in ordered if finding.severity == "against")
        text = f"Distillation is not the right tool here: the findings on {subjects} speak against it, and say what to do instead."
        return Advice(name=name, run=run, verdict="not_here", text=text, findings=ordered)
    if any(finding.subject == "teacher" and finding.severity == "unknown" for finding in findings):
        text = "It is not clear yet whether distillation helps: nothing tells whether the teacher is better than the control."
        return Advice(name=name, run=run, verdict="unclear", text=text, findings=ordered)
    warned = f"; {count['warning']} of the findings are warnings" if count["warning"] else ""
    return Advice(name=name, run=run, verdict="distil", text=f"Nothing speaks against distillation{warned}.", findings=ordered)
