"""The rules on the baseline: a file beside its teacher as `edgedistill baseline-teacher` measured it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from edgedistill.errors import DamagedFile
from edgedistill.gate.bounds import drop
from edgedistill.gate.evidence import Evidence
from edgedistill.gate.figures import BOUND, Figure, check
from edgedistill.gate.on_device import latency, setup
from edgedistill.recipe.gate import Baseline, BaselineAnswers, BaselineLatency
from edgedistill.records import ArtifactResult, Unavailable
from edgedistill.records import baseline as records
from edgedistill.records.gate import Check, Source
from edgedistill.tasks.data import chosen

_AGAIN = "run `edgedistill baseline-teacher` again"


def checks(found: Evidence, file: ArtifactResult, rules: Baseline) -> Iterator[Check]:
    """Each rule on the baseline, held to the teacher that is hardest to keep up with."""
    for number, rule in enumerate(rules.answers):
        figure = _hardest(found, partial(_answers, found, file, rule))
        title = f"Answers, {rule.of}: drop against the baseline"
        yield check(rule, f"baseline.answers.{number}", title, file.name, figure, rule.max_drop, "at most", "points")
    for number, timed in enumerate(rules.latency):
        figure = _hardest(found, partial(_latency, found, file, timed))
        title = f"Latency on {timed.device}, p95, over that of the teacher"
        yield check(timed, f"baseline.latency.{number}", title, file.name, figure, timed.max_ratio, "at most", "times")


def _hardest(found: Evidence, read: Callable[[records.TeacherBaseline], Figure]) -> Figure:
    """The figure of the teacher with the highest bound; one that is unavailable makes the whole so."""
    run, name, how = found.run, records.BASELINE_FILE, "held to what `edgedistill baseline-teacher` measured of the teacher"
    if not run.path(name).exists():
        return Figure(Unavailable(unavailable=f"the run has no {name}; make it by `edgedistill baseline-teacher`"), how)
    try:
        run.check("baseline")
        baseline = records.Baseline.read(run.path(name))
    except DamagedFile:
        return Figure(Unavailable(unavailable=f"{name} was changed or damaged; {_AGAIN}"), how)
    source = Source(path=str(run.shown / name), sha256=run.content(name), time=baseline.created)
    if baseline.recipe_sha256 != records.baseline_hash(found.scorer.recipe.model_dump(mode="json")):
        why = f"{name} is of a recipe with another task, seed, data or teacher; {_AGAIN}"
        return Figure(Unavailable(unavailable=why), how, source=source)
    if baseline.data_sha256 != found.summary.data.sha256:
        return Figure(Unavailable(unavailable=f"{name} is of other samples; {_AGAIN}"), how, source=source)
    figures = [replace(read(teacher), part=teacher.name if len(baseline.teachers) > 1 else None) for teacher in baseline.teachers]
    unknown = next((figure for figure in figures if isinstance(figure.value, Unavailable)), None)
    return replace(unknown or max(figures, key=lambda figure: figure.bound or 0.0), source=source)


def _answers(found: Evidence, file: ArtifactResult, rule: BaselineAnswers, teacher: records.TeacherBaseline) -> Figure:
    """The drop on the samples of val that both answered."""
    how = f"{teacher.where} less file on the same {found.task.words.samples} of val, whole answers; {BOUND}"
    if isinstance(kept := found.kept(file.name, rule.of, "val"), Unavailable):
        return Figure(kept, how)
    known = {} if teacher.verdicts is None else teacher.verdicts.kept
    if rule.of not in known or teacher.verdicts is None:
        why = f"the baseline tells {', '.join(known) or 'nothing'} of each answer, and not {rule.of}"
        return Figure(Unavailable(unavailable=f"{why}; {_AGAIN}"), how)
    rows = chosen(found.scorer.data, "val", found.task.tried(found.scorer.recipe))
    _, ours, theirs = np.intersect1d(rows, teacher.verdicts.rows, return_indices=True)
    if not len(ours):
        return Figure(Unavailable(unavailable=f"no sample was answered by both; {_AGAIN}"), how)
    value, bound = drop(np.array(known[rule.of])[theirs], kept[ours], found.gate.confidence)
    return Figure(value, how, bound, len(ours))


def _latency(found: Evidence, file: ArtifactResult, rule: BaselineLatency, teacher: records.TeacherBaseline) -> Figure:
    """The p95 of an inference on the device over that of a request to the teacher."""
    how = f"inference on the device over a request to {teacher.where}, {rule.callers} at a time"
    loads = {load.callers: load.latency_ms for load in teacher.load}
    if (its := loads.get(rule.callers)) is None:
        known = ", ".join(map(str, loads))
        return Figure(Unavailable(unavailable=f"the baseline has no load of {rule.callers} callers, expected one of: {known}"), how)
    p95 = its if isinstance(its, Unavailable) else its.p95
    if isinstance(p95, Unavailable):
        return Figure(Unavailable(unavailable=f"latency of the teacher: {p95.unavailable}"), how)
    if found.task.writes:
        why = "whole answers are not measured on devices; limit first_token_p95_ms and next_token_p95_ms of gate.devices"
        return Figure(Unavailable(unavailable=why), how)
    if isinstance(measured := found.measured(file, rule.device), Unavailable):
        return Figure(measured, how)
    value, bound, n = latency(measured)
    how = f"{how}; {setup(measured)}; the p95 of the teacher, {p95:.4g} ms, has no bound"
    if isinstance(value, Unavailable) or bound is None:
        return Figure(value, how)
    return Figure(value / p95, how, bound / p95, n)
