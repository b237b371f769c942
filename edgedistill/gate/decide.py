"""Decides whether the files of a run may ship, and says by which figures."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence

from edgedistill.errors import UserError
from edgedistill.gate import openings, rules
from edgedistill.gate.evidence import HOLDOUT, Evidence
from edgedistill.recipe.schema import Recipe
from edgedistill.records import Unavailable
from edgedistill.records.gate import CardData, CardRecipe, Check, GatedFile, Reference, ReleaseCard
from edgedistill.records.summary import Summary
from edgedistill.run import Run
from edgedistill.verify.scoring import has_holdout


def decide(run: Run, recipe: Recipe, summary: Summary, files: Mapping[str, Sequence[str]], first: Collection[str]) -> ReleaseCard:
    """The release card of `files`, those that each target wants by its name; `first` are the files to ship first. Nothing is executed.

    Raises UserError where the recipe has no gate, or the holdout was not scored yet.
    """
    if recipe.gate is None:
        raise UserError(f"the recipe of {run.shown} has no gate; add `gate:` with rules, see docs/gate.md, and run `{summary.command}`")
    if recipe.distill is None and recipe.gate.against == "teacher":
        raise UserError(f"found gate.against: teacher, but {run.shown} distils nothing; set gate.against: student")
    found = Evidence(run, recipe, recipe.gate, summary)
    if has_holdout(found.task, found.scorer.data) and not run.finished(HOLDOUT):
        raise UserError(f"{run.shown} has not scored the holdout yet; go on with `{summary.command}`")
    known = {file.name: file for file in summary.artifacts}
    why = {file.name: file.reason for file in summary.not_lowered}
    names = list(dict.fromkeys(name for wanted in files.values() for name in wanted))
    checks: list[Check] = []
    for name in names:
        if name in known:
            checks += rules.checks(found, known[name], first=name in first)
        else:
            checks.append(rules.missing(found, name, why.get(name, "the run has no such file")))
    gated = [known[name] for name in names if name in known]
    failed = [_sentence(check) for check in checks if check.ok is False]
    failed += [f"{target}: there is no file to ship" for target, wanted in files.items() if not any(name in known for name in wanted)]
    return ReleaseCard(
        name=summary.name,
        run=str(run.shown),
        command=summary.command,
        status="check_failed" if failed else "ok",
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        task=summary.task,
        metric=summary.metric,
        words=summary.words,
        confidence=recipe.gate.confidence,
        recipe=CardRecipe(
            path=summary.recipe.path,
            sha256=summary.recipe.sha256,
            effective_sha256=summary.recipe.effective_sha256,
            rules=recipe.gate.model_dump(mode="json"),
            rules_sha256=openings.rules_hash(recipe),
        ),
        data=CardData(source=summary.data.source, sha256=summary.data.sha256, splits=summary.data.splits),
        reference=_reference(found, summary),
        state_sha256=None if summary.state is None else summary.state.sha256,
        files=[
            GatedFile(
                **{
                    name: getattr(file, name)
                    for name in ("name", "format", "precision", "bytes", "sha256", "executed_by", "runtime", "score")
                },
                targets=[target for target, wanted in files.items() if file.name in wanted],
                ok=not any(check.ok is False for check in checks if check.file == file.name),
            )
            for file in gated
        ],
        checks=checks,
        failed=failed,
        holdout=openings.openings(run, recipe, summary.data.sha256),
        licenses=recipe.licenses.model_dump(mode="json"),
        environment=summary.environment,
    )


def _reference(found: Evidence, summary: Summary) -> Reference:
    name = found.gate.against
    rung = next((rung for rung in summary.ladder if rung.rung == name), None)
    if rung is None:
        return Reference(name=name, model="", score=Unavailable(unavailable=f"the run has no {name}"))
    return Reference(name=name, model=rung.model, score=rung.score)


def _sentence(check: Check) -> str:
    """What failed, with its figures."""
    what = f"{check.file}: {check.title}" + (f", {check.part}" if check.part else "")
    if isinstance(check.value, Unavailable):
        return f"{what}: unavailable: {check.value.unavailable}"
    if check.limit is None:
        return f"{what}: not kept; {check.how}"
    found = shown(check.value, check.unit)
    bound = "" if check.bound is None else f", with a bound of {shown(check.bound, check.unit)}"
    return f"{what}: found {found}{bound}, expected {check.sense} {shown(check.limit, check.unit)}"


def shown(value: float, unit: str) -> str:
    """A figure of a check with its unit, for readers."""
    if unit == "points":
        return f"{100 * value:.2f} points"
    return f"{value:.2%}" if unit == "share" else f"{value:.4g} {unit}".rstrip()
