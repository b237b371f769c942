"""Finds which answers of a student go back to its teacher, from what both gave for val; nothing is executed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from edgedistill.errors import UserError
from edgedistill.gate.router import ROUTER_FILE, made_table
from edgedistill.records import Unavailable
from edgedistill.records.router import (
    Risk,
    RiskPoint,
    RoutedArtifact,
    RoutedScore,
    RouterCost,
    RouterDocument,
    Share,
)
from edgedistill.runs import read_run
from edgedistill.steps.opening import opened, summary_of
from edgedistill.steps.report import recipe_of

if TYPE_CHECKING:
    import numpy as np

    from edgedistill.records import ArtifactResult
    from edgedistill.steps.answers import Answers
    from edgedistill.tasks.base import Arrays, Task

_POINTS = 20


class _Aim(NamedTuple):
    """What is asked for: a share that is sent, or a risk that is kept."""

    rate: float | None
    risk: float | None
    confidence: float


def route(
    run_dir: str | Path, *, rate: float | None = None, risk: float | None = None, confidence: float = 0.95, by: str | None = None,
    always: Sequence[str] = (), right: str | None = None, assumptions: str | Path | None = None,
) -> RouterDocument:  # fmt: skip
    """Find the decision table that sends unsure answers of a student to its teacher, and write it to `router.json` of the run.

    All figures are of val, from the outputs that the run stored. Bundles that are written afterwards carry the table.

    rate: the share of requests to send. risk: instead, the mean loss that the answers kept on the device may have; it is exceeded with a
    probability of at most 1 - confidence. by: the measure of confidence, by default the first one of the task. always: names or numbers
    of decisions that always go to the teacher. right: of models that write, what says that an answer is right, such as valid.
    assumptions: a file of prices, see docs/cost.md.

    Raises UserError where the task has no confidence, an option is out of range, or nothing was stored to measure it on.
    """
    from edgedistill import tasks
    from edgedistill.steps.answers import answers

    aim = _checked(_Aim(rate, risk, confidence))
    with opened(read_run, run_dir) as run:
        summary = summary_of(run)
        recipe = recipe_of(summary)
        task = tasks.task(recipe.task)
        found = answers(run, recipe, right)
        students = [artifact for artifact in summary.artifacts if artifact.role == "student"]
        measure = _measure(task, found, students, by)
        names = task.decision_names(recipe, task.facts.model_validate(run.made("data")))
        sent_always = [_number(name, names) for name in always]
        routed, missing = list[RoutedArtifact](), dict[str, str]()
        for artifact in students:
            if (why := found.why_not(artifact.name)) is None:
                routed.append(_routed(task, found, artifact, measure, sent_always, aim))
            else:
                missing[artifact.name] = why
        document = RouterDocument(
            run=str(run.shown),
            status="ok" if any(artifact.threshold is not None for artifact in routed) else "check_failed",
            metric=found.metric,
            against=found.against,
            rate=aim.rate,
            risk=aim.risk,
            confidence=aim.confidence,
            decisions=names,
            table=made_table(recipe.task, measure, sent_always, {artifact.name: artifact.threshold for artifact in routed}),
            artifacts=routed,
            unavailable=missing,
            cost=_cost(assumptions, routed),
        )
        if not run.borrowed:
            document.write(run.path(ROUTER_FILE))
        return document


def _checked(aim: _Aim) -> _Aim:
    if (aim.rate is None) == (aim.risk is None):
        raise UserError(f"found rate {aim.rate} and risk {aim.risk}, expected one of them: the share to send, or the risk to keep")
    for name, value in (("rate", aim.rate), ("risk", aim.risk), ("confidence", aim.confidence)):
        if value is not None and not 0 < value < 1:
            raise UserError(f"found {name} {value}, expected a number between 0 and 1")
    return aim


def _measure(task: Task, found: Answers, students: list[ArtifactResult], by: str | None) -> str:
    """The measure of confidence that counts. Raises UserError where there is none, or nothing to measure it on."""
    ready = [artifact.name for artifact in students if found.why_not(artifact.name) is None]
    if not ready:
        why = found.why_not(students[0].name) if students else "it has no files of the student"
        raise UserError(f"no answers of the student to route: {why}")
    measures = list(found.confidences(ready[0]))
    if not measures:
        raise UserError(f"the task {task.name} does not say how sure a model is, so that nothing can be routed by it")
    if by is not None and by not in measures:
        raise UserError(f"found --by {by}, expected one of {', '.join(measures)}")
    return by or measures[0]


def _number(name: str, names: list[str]) -> int:
    if name in names:
        return names.index(name)
    if name.isdecimal() and (not names or int(name) < len(names)):
        return int(name)
    shown = ", ".join(names[:10]) + (" ..." if len(names) > 10 else "")
    raise UserError(f"found no decision {name}, expected {f'one of {shown}' if names else 'its number'}")


def _routed(
    task: Task, found: Answers, artifact: ArtifactResult, by: str, always: list[int], aim: _Aim
) -> RoutedArtifact:  # fmt: skip
    import numpy as np

    from edgedistill.gate import selective
    from edgedistill.gate.risk import upper_bound
    from edgedistill.gate.router import Router

    outputs, scores = found.outputs(artifact.name), found.scores(artifact.name)
    assert outputs is not None
    losses, measures = 1.0 - scores, task.confidences(outputs)
    confidence, delta = measures[by], 1 - aim.confidence
    able = np.where(_always(task, outputs, always), -np.inf, confidence)
    if aim.rate is not None:
        threshold: float | None = selective.threshold_of_rate(able, aim.rate)
    else:
        assert aim.risk is not None
        threshold = selective.threshold_of_risk(able, losses, aim.risk, delta)
        delta /= selective.GRID
    sent = Router(task.name, by, threshold, tuple(always)).asks_teacher(outputs)
    teacher = found.scores_of_teacher(artifact.name)
    kept, n = losses[~sent], len(sent)
    none = Unavailable(unavailable="nothing is kept")
    points = _points(selective.curve(confidence, losses))
    return RoutedArtifact(
        name=artifact.name,
        sha256=artifact.sha256,
        n=n,
        threshold=threshold,
        sent=_share(int(sent.sum()), n),
        risk=Risk(value=float(kept.mean()), bound=upper_bound(kept, delta), confidence=1 - delta) if len(kept) else none,
        score=found.no_teacher if teacher is None else _score(task, scores, teacher, sent),
        errors=int((losses > 0).sum()),
        caught=int((losses[sent] > 0).sum()),
        misses=found.no_teacher if teacher is None else int((scores[~sent] < teacher[~sent]).sum()),
        aurc={name: selective.aurc(values, losses) for name, values in measures.items()},
        curve=points,
    )


def _always(task: Task, outputs: Arrays, always: list[int]) -> np.ndarray:
    """Which samples always go to the teacher, bool [n]."""
    import numpy as np

    if not always:
        return np.zeros(len(next(iter(outputs.values()))), bool)
    decided = None if task.writes else task.decide(outputs)
    if decided is None or decided.ndim != 1:
        raise UserError(f"models of the task {task.name} do not make one decision for a sample; leave out --always")
    return np.isin(decided, always)


def _points(curve) -> list[RiskPoint]:  # type: ignore[no-untyped-def]
    """Some points of a curve, spread evenly over the coverages."""
    import numpy as np

    wanted = np.linspace(1 / _POINTS, 1, _POINTS)
    places = np.unique(np.searchsorted(curve.coverage, wanted - 1e-12).clip(max=len(curve.coverage) - 1))
    columns = (curve.coverage[places], curve.risk[places], curve.confidence[places])
    return [RiskPoint(coverage=c, risk=r, confidence=s) for c, r, s in zip(*(column.tolist() for column in columns), strict=True)]


def _share(count: int, n: int) -> Share:
    from edgedistill.tasks.intervals import wilson

    return Share(value=count / n, count=count, n=n, interval=wilson(count, n))


def _score(task: Task, student: np.ndarray, teacher: np.ndarray, sent: np.ndarray) -> RoutedScore:
    import numpy as np

    routed = np.where(sent, teacher, student)
    difference, low, high = task.paired(routed, teacher)
    means = {name: float(values.mean()) for name, values in (("student", student), ("teacher", teacher), ("routed", routed))}
    return RoutedScore(**means, against_teacher=difference, interval=(low, high))


def _cost(assumptions: str | Path | None, routed: list[RoutedArtifact]) -> RouterCost | Unavailable:
    """What the teacher's answers cost alone and behind the router of the first artifact."""
    from edgedistill.files import sha256_file
    from edgedistill.recipe.base import at_home
    from edgedistill.records.cost import Assumptions
    from edgedistill.steps.cost.arithmetic import of_requests
    from edgedistill.steps.cost.assumptions import load_assumptions
    from edgedistill.steps.cost.document import teacher_request

    if assumptions is None:
        return Unavailable(unavailable="no file of assumptions was given (--assumptions)")
    path, first = Path(assumptions), routed[0]
    assumed = load_assumptions(path)
    price = teacher_request(assumed, assumed.usage.tokens_per_request)
    known = Assumptions(path=str(path), sha256=sha256_file(at_home(path)), values=assumed.model_dump(mode="json"))
    parts = {"teacher": price, "routed": price * first.sent.value, "saved": price * (1 - first.sent.value)}
    costs = {name: of_requests(amount, assumed.usage) for name, amount in parts.items()}
    return RouterCost(assumptions=known, currency=assumed.currency, artifact=first.name, **costs)
