"""The summary of a run: every figure of the report and of `--json`, read from the records of its steps."""

import time
from collections.abc import Iterable, Sequence

from pydantic import JsonValue

from edgedistill.files import read_json
from edgedistill.recipe.loading import recorded
from edgedistill.recipe.schema import Recipe
from edgedistill.records import ArtifactResult, Unavailable
from edgedistill.records.steps import Programs
from edgedistill.records.summary import Epoch, LoweringCost, Member, Members, Rung, Summary, TeacherResult
from edgedistill.report import ranges, sensitivity
from edgedistill.report.artifacts import artifact, pairs
from edgedistill.report.ladder import ladder_of
from edgedistill.report.measured import measured
from edgedistill.report.twins import with_twins
from edgedistill.run import Run
from edgedistill.tasks.sections import Results, Trial
from edgedistill.verify import judge, stored
from edgedistill.verify.failures import failures, warnings
from edgedistill.verify.scoring import Scorer


def summarize(run: Run, environment: dict[str, JsonValue]) -> Summary:
    """The summary of what `run` has by now; see docs/cli.md for the document."""
    recipe, valid = read_json(run.path("recipe.json")), recorded(run.folder)
    scorer = Scorer(run, valid)
    task = scorer.task
    artifacts = with_twins([artifact(run, made, scorer) for made in run.artifacts()], scorer.difference, task.metric.tolerated)
    compared = pairs(run, artifacts, scorer)
    ladder = ladder_of(valid, artifacts, scorer)
    missing, made = run.not_lowered(), run.result("programs")
    programs = None if made is None else Programs.model_validate(made)
    shipped = next((r.rung for r in ladder if r.precision == "int8" and r.rung != "fake_quant"), "student")
    return Summary(
        name=valid.name,
        status=judge.status_of(artifacts, compared, missing),
        failed=failures(artifacts, compared, missing),
        warnings=[*scorer.data.facts.warnings, *warnings(artifacts, task.metric)],
        run=str(run.shown),
        command=recipe["command"],
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        seconds=_seconds(run),
        environment=environment,
        task=task.name,
        metric=task.metric,
        words=task.words,
        recipe=recipe,
        data=run.made("data") | {"described": scorer.data.facts.described()},
        ladder=ladder,
        verdict=scorer.verdict(),
        teacher=_teacher(run, valid, ladder, artifacts),
        artifacts=artifacts,
        not_lowered=missing,
        pairs=compared,
        ranges=ranges.recorded(run, artifacts),
        curves=_curves(run, valid),
        state=None if programs is None else programs.model_dump(exclude={"sensitivity"}),
        sensitivity=sensitivity.priced(None if programs is None else programs.sensitivity, artifacts),
        lowering=_lowering(run),
        sections=task.sections(_results(run, scorer, shipped, artifacts)),
        devices=measured(run, artifacts),
        bundles={},
        report=str(run.path("report.html")),
    )


def _results(run: Run, scorer: Scorer, shipped: str, artifacts: Iterable[ArtifactResult]) -> Results:
    """What the task writes its sections of."""
    names = tuple(a.name for a in artifacts if a.role == "student")
    tried = [name for name in ("teacher", "control", "student", *names) if run.finished(stored.trial(name))]
    trials = {name: Trial(run.made(stored.trial(name)), run.work(stored.trial(name))) for name in tried}
    return Results(scorer.data.facts, shipped, scorer.outputs, scorer.targets("val"), names, trials, run.result("answers"))


def _teacher(run: Run, recipe: Recipe, ladder: Sequence[Rung], artifacts: Iterable[ArtifactResult]) -> TeacherResult | None:
    if recipe.teacher is None:
        return None
    trained = [run.made(name) for name in recipe.teacher_steps]
    parameters = [record.get("parameters") for record in trained]
    own = {
        "model": recipe.teacher.label,
        "parameters": Unavailable(unavailable="a file does not say") if None in parameters else sum(parameters),
        "bytes": sum(size)
        if None not in (size := [record.get("bytes") for record in trained])
        else Unavailable(unavailable="a service does not say"),
        "score": next((row.score for row in ladder if row.rung == "teacher"), None),
        "members": _members(run, recipe),
    }
    file = next((a.model_dump() for a in artifacts if a.role == "teacher"), {})
    return TeacherResult.model_validate({"name": "teacher"} | file | own)


def _members(run: Run, recipe: Recipe) -> Members:
    """What was found out about the teachers, and about the set that they teach."""
    met = run.made("teaching")
    titles = {member.name: member.label for member in recipe.members}
    weights = met.get("weights") or {}
    members = [Member(name=name, model=titles[name], val=value, weight=weights.get(name)) for name, value in met["val"].items()]
    return Members(members=members, disagreement=met["disagreement"], teaching_set=run.result("teaching-set"))


def _curves(run: Run, recipe: Recipe) -> dict[str, list[Epoch]]:
    names = [*recipe.teacher_steps, "control", "student", "qat"]
    curves = {name: (run.result(name) or {"curve": []})["curve"] for name in names}
    curves["student"] = curves["student"] + curves.pop("qat")
    return {name: curve for name, curve in curves.items() if curve}


def _seconds(run: Run) -> dict[str, float]:
    parts = {
        "teach": ("data", "teacher", "teaching"),
        "distill": ("control", "student", "qat"),
        "quantize": ("programs", "program-"),
        "export": ("export-",),
        "verify": ("val-", "divergence-", "delegation-", "ranges-"),
        "measure": ("bench-",),
        "holdout": ("holdout",),
    }
    return {name: round(sum(run.seconds(prefix) for prefix in prefixes), 2) for name, prefixes in parts.items()}


def _lowering(run: Run) -> dict[str, LoweringCost]:
    """What the process of each format took, its imports included: seconds, peak memory, and each file with its own seconds."""
    costs = {}
    for name, made in run.lowered().items():
        if made.peak_rss_mb is not None:
            files = [f"{a.name} {a.seconds:.1f} s" for a in made.artifacts]
            costs[name] = LoweringCost(seconds=run.seconds(f"export-{name}"), peak_rss_mb=made.peak_rss_mb, files=files)
    return costs
