"""Finds which answers of a student go back to its teacher, from what both gave for val; nothing is executed."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgedistill.errors import UserError
from edgedistill.gate.router import ROUTER_FILE, Router, made_table
from edgedistill.records import Unavailable
from edgedistill.records.router import RoutedArtifact, RouterCost, RouterDocument, Rule
from edgedistill.runs import read_run
from edgedistill.steps.opening import opened, summary_of
from edgedistill.steps.report import recipe_of

if TYPE_CHECKING:
    from edgedistill.steps.answers import Answers
    from edgedistill.steps.routed import Aim
    from edgedistill.tasks.base import Task

_RULE = re.compile(r"\s*(\w+)\s*([<>])\s*([-+.\de]+)\s*")


def route(
    run_dir: str | Path, *, rate: float | None = None, risk: float | None = None, confidence: float = 0.95, by: str | None = None,
    always: Sequence[str] = (), when: Sequence[str] = (), right: str | None = None, assumptions: str | Path | None = None,
) -> RouterDocument:  # fmt: skip
    """Find the decision table that sends unsure answers of a student to its teacher, and write it to `router.json` of the run.

    All figures are of val, from the outputs that the run stored. Bundles that are written afterwards carry the table.

    rate: the share of requests to send. risk: instead, the mean loss that the answers kept on the device may have; it is exceeded with a
    probability of at most 1 - confidence. by: the measure of confidence, by default the first one of the task; `risk` fits a model of the
    risk to half of val, and figures are those of the other half. always: names or numbers of decisions that always go to the teacher.
    when: rules such as "tokens>100" by features of the request, where it does too. right: of models that write, what says that an
    answer is right, such as valid.
    assumptions: a file of prices, see docs/cost.md.

    Raises UserError where the task has no confidence, an option is out of range, or nothing was stored to measure it on.
    """
    from edgedistill import tasks
    from edgedistill.steps.answers import answers
    from edgedistill.steps.routed import Aim, routed

    aim = _checked(Aim(rate, risk, confidence))
    with opened(read_run, run_dir) as run:
        summary = summary_of(run)
        recipe = recipe_of(summary)
        task = tasks.task(recipe.task)
        found = answers(run, recipe, right)
        students = [artifact for artifact in summary.artifacts if artifact.role == "student"]
        missing = {artifact.name: why for artifact in students if (why := found.why_not(artifact.name)) is not None}
        ready = [artifact for artifact in students if artifact.name not in missing]
        if not ready:
            why = next(iter(missing.values()), "it has no files of the student")
            raise UserError(f"no answers of the student to route: {why}")
        names = task.decision_names(recipe, task.facts.model_validate(run.made("data")))
        router = _router(task, found, ready[0].name, by, [_number(name, names) for name in always], when)
        each = [routed(task, found, artifact, router, aim)[1] for artifact in ready]
        document = RouterDocument(
            run=str(run.shown),
            status="ok" if any(artifact.threshold is not None for artifact in each) else "check_failed",
            metric=found.metric,
            against=found.against,
            rate=aim.rate,
            risk=aim.risk,
            confidence=confidence,
            decisions=names,
            table=made_table(router, {artifact.name: artifact.threshold for artifact in each}),
            artifacts=each,
            unavailable=missing,
            cost=_cost(assumptions, each),
        )
        if not run.borrowed:
            document.write(run.path(ROUTER_FILE))
        return document


def _checked(aim: Aim) -> Aim:
    if (aim.rate is None) == (aim.risk is None):
        raise UserError(f"found rate {aim.rate} and risk {aim.risk}, expected one of them: the share to send, or the risk to keep")
    for name, value in (("rate", aim.rate), ("risk", aim.risk), ("confidence", aim.confidence)):
        if value is not None and not 0 < value < 1:
            raise UserError(f"found {name} {value}, expected a number between 0 and 1")
    return aim


def _router(task: Task, found: Answers, first: str, by: str | None, always: list[int], when: Sequence[str]) -> Router:
    """The router by the measure `by`, without a threshold; a model of the risk is fitted to answers of the artifact `first`.

    Raises UserError where there is no such measure, or no such feature.
    """
    from edgedistill.steps.routed import RISK, fitted

    measures = list(found.confidences(first))
    if not measures:
        raise UserError(f"the task {task.name} does not say how sure a model is, so that nothing can be routed by it")
    if by not in (None, RISK, *measures):
        raise UserError(f"found --by {by}, expected one of {', '.join([*measures, RISK])}")
    rules = tuple(_rule(text, found, first) for text in when)
    return Router(task.name, by or measures[0], None, tuple(always), rules, fitted(found, first) if by == RISK else None)


def _rule(text: str, found: Answers, name: str) -> Rule:
    parts, known = _RULE.fullmatch(text), list(found.features(name))
    try:
        feature, sign, value = parts.groups() if parts else ("", "", "")
        number = float(value)
    except ValueError:
        feature, number = "", 0.0
    if feature not in known or not math.isfinite(number):
        expected = f"FEATURE>NUMBER or FEATURE<NUMBER with one of {', '.join(known)}" if known else "none: nothing is known of requests"
        raise UserError(f"found --when {text!r}, expected {expected}")
    return Rule(of=feature, above=number if sign == ">" else None, below=number if sign == "<" else None)


def _number(name: str, names: list[str]) -> int:
    if name in names:
        return names.index(name)
    if name.isdecimal() and (not names or int(name) < len(names)):
        return int(name)
    shown = ", ".join(names[:10]) + (" ..." if len(names) > 10 else "")
    raise UserError(f"found no decision {name}, expected {f'one of {shown}' if names else 'its number'}")


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
