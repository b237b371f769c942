"""Measures the teachers of a recipe where the student will run: quality, latency under load, format errors, cost of a session."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgedistill import threads
from edgedistill.errors import DeviceFailed, UserError
from edgedistill.measure.runner.facts import machine
from edgedistill.packages import require
from edgedistill.progress import log
from edgedistill.recipe.loading import AnyRecipe, load_recipe
from edgedistill.records import Latency, Score, Unavailable
from edgedistill.records.baseline import BASELINE_FILE, Baseline, Load, TeacherBaseline, TeacherCost, Tokens, Verdicts, baseline_hash
from edgedistill.run import Run, Step
from edgedistill.runs import open_run
from edgedistill.steps.cost import assumptions as prices
from edgedistill.steps.declared import MADE_WITH

if TYPE_CHECKING:
    import numpy as np

    from edgedistill.recipe.schema import Recipe
    from edgedistill.steps.distill import Ready
    from edgedistill.tasks.base import Arrays, Task
    from edgedistill.tasks.data import Dataset
    from edgedistill.tasks.requests import Judged, Reply, Requests

CALLERS = (1, 4, 16)
REQUESTS = 64
_MOST_CALLERS = 512


def baseline_teacher(
    recipe: AnyRecipe, runs_dir: str | Path = Path("runs"), *, callers: Sequence[int] = CALLERS, requests: int = REQUESTS,
    assumptions: str | Path | None = None,
) -> Baseline:  # fmt: skip
    """Measure the teachers of `recipe`, and keep the figures as `baseline.json` of its run; a teacher that is trained is trained first.

    callers: how many ask at the same time, a load each. requests: how many samples of val each load asks; all of val if it has fewer.
    assumptions: the file of prices that `edgedistill cost` takes, for the cost of a session.

    Raises UserError for a recipe without a teacher, RecipeError for mistakes in a file, and DeviceFailed where no request was answered.
    """
    loaded = load_recipe(recipe)
    if loaded.recipe.teacher is None:
        raise UserError(f"{loaded.path}: found teacher: null, expected a teacher to measure")
    if requests < 1 or not callers or not all(1 <= count <= _MOST_CALLERS for count in callers):
        expected = f"1 request or more, and from 1 to {_MOST_CALLERS} callers"
        raise UserError(f"found {requests} requests by {', '.join(map(str, callers)) or 'no'} callers, expected {expected}")
    assumed = None if assumptions is None else prices.load_assumptions(Path(assumptions))
    require("train", "report")
    from edgedistill.steps import distill

    with open_run(Path(runs_dir) / loaded.recipe.name) as run:
        ready = distill.teachers_ready(run, loaded)

        def work(_: Path) -> Baseline:
            measured = _measured(run, loaded.recipe, ready, sorted(set(callers)), requests, assumed)
            measured.write(run.path(BASELINE_FILE))
            return measured

        about = [baseline_hash(loaded.effective()), ready.hashes]
        made = run.step(Step("baseline", about, noted=MADE_WITH, outputs=(BASELINE_FILE,)), work, again=True)
    return Baseline.model_validate(made)


def _measured(run: Run, recipe: Recipe, ready: Ready, callers: list[int], count: int, assumed: prices.CostAssumptions | None) -> Baseline:
    from edgedistill.steps.teach import faculty_of

    task, data = ready.lesson.task, ready.lesson.data
    val, rows = data.indices["val"], _asked(task, recipe, data, count)
    told = [member.name for member in recipe.members if task.tells(member, recipe)]
    outputs = dict(zip(told, faculty_of(run, recipe, data).outputs("val"), strict=True))
    teachers = []
    for number, member in enumerate(recipe.members):
        score, further = _scored(task, outputs.get(member.name), data.targets(val))
        requests = task.requests(member, recipe, data, _weights(run, recipe, number))
        log(f"{member.name}: {len(callers) * len(rows)} requests to {requests.where}, by {' and '.join(map(str, callers))} callers")
        with threads.using(recipe.measure.threads):
            # The first call makes ready what later ones use.
            requests.ask(rows[:1], 1)
            loads = [_load(requests, rows, at_once) for at_once in callers]
        answered = [replies for _, replies in loads if replies]
        if not answered:
            raise DeviceFailed(f"{member.name}: {requests.where} answered none of {len(rows)} requests: {loads[0][0].error}")
        judged, every = requests.judge(answered[0]), [reply for replies in answered for reply in replies]
        teachers.append(
            TeacherBaseline(
                name=member.name,
                model=member.label,
                where=requests.where,
                settings=dict(requests.settings),
                score=score,
                further=further | judged.further,
                answers=judged.shares,
                verdicts=_verdicts(answered[0], judged),
                format_errors=_format_errors(requests, every),
                load=[load for load, _ in loads],
                cost=_cost(assumed, every),
            )
        )
    return Baseline(
        name=recipe.name, run=str(run.shown), created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), task=task.name,
        metric=task.metric, recipe_sha256=baseline_hash(recipe.model_dump(mode="json")), data_sha256=data.facts.sha256, samples=len(rows),
        environment=machine() | {"threads": recipe.measure.threads}, teachers=teachers,
    )  # fmt: skip


def _asked(task: Task, recipe: Recipe, data: Dataset, count: int) -> np.ndarray:
    """The samples of val that are asked for: of those that the student is tried on, as far as these suffice."""
    from edgedistill.tasks.data import chosen, spread

    tried = chosen(data, "val", task.tried(recipe))
    return tried[spread(len(tried), count)] if len(tried) >= count else chosen(data, "val", count)


def _verdicts(replies: Sequence[Reply], judged: Judged) -> Verdicts | None:
    if not judged.each:
        return None
    return Verdicts(rows=[reply.row for reply in replies], kept={name: values.tolist() for name, values in judged.each.items()})


def _scored(task: Task, outputs: Arrays | None, targets: Arrays) -> tuple[Score | Unavailable, dict[str, float]]:
    """The primary metric of a teacher's outputs on val, and further scores."""
    from edgedistill.verify.scoring import score_of

    if outputs is None:
        return Unavailable(unavailable="the teacher writes answers only, and gives no outputs of the student's"), {}
    if not targets:
        return Unavailable(unavailable=f"the {task.words.samples} have no {task.words.targets}"), {}
    return score_of(task, task.score(outputs, targets)), task.further(outputs, targets)


def _weights(run: Run, recipe: Recipe, number: int) -> Path | None:
    from edgedistill.distill.stages import trained

    return trained(run.work(recipe.teacher_steps[number]))


def _load(requests: Requests, rows: np.ndarray, callers: int) -> tuple[Load, list[Reply]]:
    """What the load of so many callers took, and the replies with an answer."""
    from edgedistill.measure.statistics import latency_ms

    begun = time.perf_counter()
    replies = requests.ask(rows, callers)
    seconds = time.perf_counter() - begun
    answered = [reply for reply in replies if reply.error is None]
    error = next((reply.error for reply in replies if reply.error is not None), None)
    latency: Latency | Unavailable = Unavailable(unavailable=f"no request was answered: {error}")
    if answered:
        latency = latency_ms([round(1e9 * reply.seconds) for reply in answered])
    load = Load(
        callers=callers, requests=len(replies), errors=len(replies) - len(answered), error=error, latency_ms=latency, seconds=seconds,
        answers_per_s=len(answered) / seconds,
    )  # fmt: skip
    return load, answered


def _format_errors(requests: Requests, replies: Sequence[Reply]) -> Score | Unavailable:
    from edgedistill.tasks.intervals import wilson

    verdicts = [valid for reply in replies if (valid := requests.valid(reply)) is not None]
    if not verdicts:
        return Unavailable(unavailable="the recipe wants no format of answers")
    wrong = verdicts.count(False)
    return Score(value=wrong / len(verdicts), correct=None, n=len(verdicts), interval=wilson(wrong, len(verdicts)))


def _cost(assumed: prices.CostAssumptions | None, replies: Sequence[Reply]) -> TeacherCost | Unavailable:
    """The cost by the tokens of the requests, where they were counted, else by those that are assumed."""
    from edgedistill.steps.cost.document import teacher_request

    if assumed is None:
        return Unavailable(unavailable="no prices were given: --assumptions FILE, see docs/cost.md")
    tokens, source = assumed.usage.tokens_per_request, "usage.tokens_per_request of the file of assumptions"
    counted = [reply.tokens for reply in replies if reply.tokens is not None]
    if not assumed.teacher.price.counts_tokens:
        tokens, source = None, "teacher.price.per_request of the file of assumptions"
    elif len(counted) == len(replies):
        read, written = (sum(part) / len(counted) for part in zip(*counted, strict=True))
        tokens, source = prices.Tokens(input=read, output=written), f"counted in {len(counted)} requests"
    request, session = teacher_request(assumed, tokens), assumed.usage.requests_per_session
    paid = None if tokens is None else Tokens(input=tokens.input + tokens.cached_input, output=tokens.output)
    return TeacherCost(
        currency=assumed.currency, request=request, session=request * session, requests_per_session=session, tokens=paid, source=source
    )
