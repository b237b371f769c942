"""What speaks for or against distillation: models against each other, what the samples ask for, and how the teacher answers.

The limits below are rules of thumb and no results of ours; docs/advise.md says what each stands for.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from math import ceil

from edgedistill.records import Score, Unavailable
from edgedistill.records.advice import Finding, Severity
from edgedistill.records.baseline import BASELINE_FILE, TeacherBaseline
from edgedistill.steps.advise.evidence import Evidence
from edgedistill.tasks.intervals import difference_of_shares, wilson
from edgedistill.tasks.requests import RIGHT, Demands

UNSEEN_MUCH, UNSEEN_SOME = 0.3, 0.05
"""Shares of val whose target has what no training sample shows."""
STEPS_MANY, STEPS_SOME = 5.0, 2.0
"""Answers, one after the other, that half of the requests take."""
LONG = 512.0
"""Length of an answer, the 95% quantile."""
BROKEN, FAILED = 0.02, 0.01
"""Shares of the teacher's answers that break the format, and of requests without an answer."""
SMALLER = 0.8
"""Parameters of the student over those of the teacher."""
WIDE = 0.05
"""Half of the interval of a score on val."""
_Figures = dict[str, float | int | str]


def of_models(e: Evidence) -> Iterator[Finding]:
    """The teacher against the control, the student against the control, the student's size against the teacher's."""
    yield _teacher(e)
    yield _control(e)
    yield _size(e)


def of_samples(e: Evidence) -> Iterator[Finding]:
    """How much val can tell, and what it asks of a small model."""
    yield _val(e)
    if e.demands is None:
        text = f"The task {e.task.name} can't tell what its {e.task.words.samples} ask of a model beyond what training shows."
        yield Finding(subject="facts", severity="unknown", text=text, figures={}, source="the task")
        return
    yield _facts(e, e.demands)
    if e.demands.steps is not None and e.demands.length is not None:
        yield _steps(e.demands.steps, e.demands.length)


def of_baseline(e: Evidence) -> Iterator[Finding]:
    """What the teacher breaks, loses under load, and costs."""
    if e.baseline is None:
        text = "The teacher was not measured: its format errors, its latency under load and its cost are not known."
        source, command = f"no {BASELINE_FILE} of this recipe in the run", e.told("baseline-teacher")
        yield Finding(subject="baseline", severity="unknown", text=text, figures={}, source=source, command=command)
        return
    for teacher in e.baseline.teachers:
        if isinstance(teacher.format_errors, Score):
            yield _format(teacher, teacher.format_errors)
        yield _load(teacher)
        yield _cost(e, teacher)


def _teacher(e: Evidence) -> Finding:
    gap = _gap(e)
    if gap is None:
        text = "Nothing tells whether the teacher is better than the control, the student that is trained without a teacher."
        if not e.recipe.learning.control:
            text += " Set distill.control: true."
        writes = any(not e.task.tells(member, e.recipe) for member in e.recipe.members)
        command = e.told("baseline-teacher" if writes and e.baseline is None else "run" if writes else "distill")
        source = "no figures of both in the run"
        return Finding(subject="teacher", severity="unknown", text=text, figures={}, source=source, command=command)
    difference, low, high, n, source = gap
    figures: _Figures = {"teacher less control": difference, "low": low, "high": high, "n": n}
    found = partial(Finding, subject="teacher", figures=figures, source=source)
    said = f"{100 * difference:+.1f} points, 95% interval {100 * low:+.1f} to {100 * high:+.1f}, on {n} {e.task.words.samples} of val"
    if low > 0:
        return found(severity="ok", text=f"The teacher is better than the control: {said}.")
    if difference <= 0:
        text = f"The teacher is no better than the control: {said}."
        instead = "Ship the control, which learns from the data alone, or take a better teacher."
        if e.summary is not None and e.summary.verdict.outcome == "helped":
            return found(severity="warning", text=f"{text} Its student is better all the same.", instead="Take a better teacher.")
        return found(severity="against", text=text, instead=instead)
    figures["samples that would tell"] = needed = ceil(n * ((high - low) / 2 / difference) ** 2)
    instead = f"Give val about {needed:,} {e.task.words.samples}, which would tell a difference of this size, or take a better teacher."
    return found(severity="warning", text=f"Val can't tell the teacher from the control: {said}.", instead=instead)


def _gap(e: Evidence) -> tuple[float, float, float, int, str] | None:
    """The teacher less the control with its 95% interval, on how many samples, and where that is from."""
    gap = e.gap
    if gap is not None and not isinstance(gap.difference, Unavailable) and not isinstance(gap.interval, Unavailable):
        return gap.difference, *gap.interval, gap.n, "outputs of both on val, paired"
    control = e.control.get(RIGHT)
    shares = [share for teacher in e.baseline.teachers if (share := teacher.answers.get(RIGHT))] if e.baseline is not None else []
    if control is None or not shares:
        return None
    teacher = max(shares, key=lambda share: share.value)
    difference = difference_of_shares(teacher.correct or 0, teacher.n, control["right"], control["n"])
    return *difference, min(teacher.n, control["n"]), f"right answers: {BASELINE_FILE} and the trial of the control, not paired"


def _control(e: Evidence) -> Finding:
    if e.summary is None:
        text, source = "No student was trained yet.", "no summary.json of this recipe in the run"
        return Finding(subject="control", severity="unknown", text=text, figures={}, source=source, command=e.told("distill"))
    told = e.summary.verdict
    figures: _Figures = {name: value for name, value in (("student less control", told.difference), ("n", told.n)) if value is not None}
    if told.interval is not None:
        figures |= {"low": told.interval[0], "high": told.interval[1]}
    severity: dict[str, Severity] = {"helped": "ok", "no_difference": "warning", "hurt": "against", "unavailable": "unknown"}
    instead = {
        "no_difference": "Give the teacher more weight, or more samples without targets; or ship the control, which needs no teacher.",
        "hurt": "Ship the control, or look at the losses and the teacher's answers before another run.",
    }
    return Finding(
        subject="control", severity=severity[told.outcome], text=told.text, figures=figures, instead=instead.get(told.outcome),
        source="summary.json: the student against the control, paired",
    )  # fmt: skip


def _size(e: Evidence) -> Finding:
    student, teacher = e.parameters["student"], e.parameters.get("teacher")
    found = partial(Finding, subject="size", source="the models as they are built")
    if teacher is None:
        text = f"The student has {student:,} parameters; those of the teacher are not known."
        return found(severity="ok", text=text, figures={"student": student})
    ratio = student / teacher
    found = partial(found, figures={"student": student, "teacher": teacher, "ratio": ratio})
    text = f"The student has {student:,} parameters, {100 * ratio:.0f}% of the teacher's {teacher:,}."
    if ratio <= SMALLER:
        return found(severity="ok", text=text)
    instead = "Quantize the teacher itself (distill: null, see docs/your-model.md), or take a smaller student."
    return found(severity="warning", text=f"{text} Distillation makes little smaller here.", instead=instead)


def _val(e: Evidence) -> Finding:
    n, words = e.splits["val"], e.task.words.samples
    low, high = wilson(n // 2, n)
    half = (high - low) / 2
    figures: _Figures = {"val": n, "half interval": half, "train": e.splits["train"]}
    found = partial(Finding, subject="val", figures=figures, source="the step data; the interval is Wilson's at a score of 50%")
    text = f"With {n:,} {words} in val the interval of a score reaches {100 * half:.1f} points to each side."
    if half <= WIDE:
        return found(severity="ok", text=text)
    needed = ceil(n * (half / WIDE) ** 2)
    instead = f"Collect samples before anything is trained: val needs about {needed:,} for {100 * WIDE:.0f} points."
    return found(severity="warning", text=f"{text} Smaller differences can't be told.", instead=instead)


def _facts(e: Evidence, demands: Demands) -> Finding:
    unseen, n = demands.unseen, demands.n
    share, (low, high) = unseen / n, wilson(unseen, n)
    figures: _Figures = {"unseen": unseen, "n": n, "share": share, "low": low, "high": high}
    found = partial(Finding, subject="facts", figures=figures, source="train and val of the step data")
    text = f"{unseen:,} of {n:,} {e.task.words.samples} of val ({100 * share:.1f}%) {demands.unseen_is}."
    if low >= UNSEEN_MUCH:
        text += " The task lives on facts that training does not show, and a small model has little room for them."
        instead = "Look the facts up (a search or a table whose text goes into the input), or leave such requests to the teacher."
        return found(severity="against", text=text, instead=instead)
    if share > UNSEEN_SOME:
        instead = "Add training samples of them, put the facts into the input, or send such requests to the teacher."
        return found(severity="warning", text=text, instead=instead)
    return found(severity="ok", text=text)


def _steps(steps: tuple[float, float], length: tuple[float, float]) -> Finding:
    figures: _Figures = {"steps, median": steps[0], "steps, p95": steps[1], "length, median": length[0], "length, p95": length[1]}
    found = partial(Finding, subject="steps", figures=figures, source="val of the step data")
    text = f"The median number of answers that a request takes, one after the other, is {steps[0]:g}; 95% of the answers have up to "
    text += f"{length[1]:g} tokens."
    if steps[0] >= STEPS_MANY:
        text += " Each step has to be right, and the errors of a small model multiply."
        return found(severity="against", text=text, instead="Leave the chain to the teacher or to code, and distil its single steps.")
    if steps[0] > STEPS_SOME or length[1] > LONG:
        instead = "Ask for shorter answers, or for one step at a time, and judge whole answers."
        return found(severity="warning", text=text, instead=instead)
    return found(severity="ok", text=text)


def _format(teacher: TeacherBaseline, errors: Score) -> Finding:
    low, high = errors.interval
    figures: _Figures = {"share": errors.value, "low": low, "high": high, "n": errors.n}
    found = partial(Finding, subject="format", figures=figures, source=BASELINE_FILE)
    text = f"{100 * errors.value:.1f}% of {errors.n} answers of {teacher.name} break the format of the recipe."
    if errors.value <= BROKEN:
        return found(severity="ok", text=text)
    instead = "Teach checked answers only (teacher.answers.checks), or take a service that keeps to a schema."
    return found(severity="warning", text=f"{text} A student learns them too.", instead=instead)


def _load(teacher: TeacherBaseline) -> Finding:
    asked, lost = sum(load.requests for load in teacher.load), sum(load.errors for load in teacher.load)
    figures: _Figures = {"requests": asked, "errors": lost}
    parts = []
    for load in teacher.load:
        known = {name: value for name in ("p50", "p95") if isinstance(value := getattr(load.latency_ms, name, None), float)}
        figures |= {f"{name} ms, {load.callers} callers": value for name, value in known.items()}
        parts.append(f"{', '.join(f'{name} {value:.4g} ms' for name, value in known.items()) or 'no answer'} (callers: {load.callers})")
    found = partial(Finding, subject="load", figures=figures, source=BASELINE_FILE)
    text = f"{teacher.name} on {teacher.where}: {'; '.join(parts)}. {lost} of {asked} requests had no answer."
    if lost <= FAILED * asked:
        return found(severity="ok", text=text)
    instead = "Measure again with fewer callers (--callers), or raise the limits of the service: its errors are no bar for a student."
    return found(severity="warning", text=text, instead=instead)


def _cost(e: Evidence, teacher: TeacherBaseline) -> Finding:
    cost = teacher.cost
    if isinstance(cost, Unavailable):
        text = f"What a session with {teacher.name} costs is not known: {cost.unavailable}."
        command = e.told("baseline-teacher", "--assumptions prices.yaml")
        return Finding(subject="cost", severity="unknown", text=text, figures={}, source=BASELINE_FILE, command=command)
    text = f"A session of {cost.requests_per_session:g} requests to {teacher.name} costs {cost.session:.4g} {cost.currency}."
    figures: _Figures = {"session": cost.session, "request": cost.request, "currency": cost.currency}
    return Finding(subject="cost", severity="ok", text=text, figures=figures, source=f"{BASELINE_FILE}; {cost.source}")
