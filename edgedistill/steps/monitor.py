"""Compares traces of devices with the answers of a model on val, or with earlier traces."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from edgedistill.errors import UserError
from edgedistill.records import Unavailable
from edgedistill.records.drift import Answered, DriftDocument, Reference
from edgedistill.records.manifest import MANIFEST_FILE
from edgedistill.records.router import Share

if TYPE_CHECKING:
    from edgedistill.gate.drift import Traces

_FEWEST = 30


class _Known(NamedTuple):
    """What traces are compared with."""

    answers: Answered
    decisions: list[str]
    artifact: str | None = None
    by: str | None = None


def monitor(
    source: str | Path, traces: str | Path, *, artifact: str | None = None, alpha: float = 0.01, limit: float = 0.25
) -> DriftDocument:
    """Say whether answers on devices are still like those when a model was made, and whether to train it again.

    source: the folder of a run or of a bundle, or a .jsonl file of earlier traces. traces: a .jsonl file with an object a line:
    `confidence`, 0 to 1, and, where something is decided, `decision`, its name or number. artifact: the file that answered, by default
    the first one, of a bundle the first one to ship. alpha: how often traces that did not drift are said to have drifted, at most.
    limit: the stability index from which on drift is a reason to train again.

    Raises UserError where there is no reference, or a line is no trace.
    """
    from edgedistill.gate import drift

    if not 0 < alpha < 1 or not limit > 0:
        raise UserError(f"found alpha {alpha} and limit {limit}, expected 0 < alpha < 1 and a limit above 0")
    source, path = Path(source), Path(traces)
    known = _reference(source, artifact)
    now = read_traces(path, known.decisions)
    found = drift.tests(known.answers, now, alpha)
    drifted = [test for test in found if test.drifted]
    large = any(test.statistic >= limit for test in drifted if test.name.endswith("stability"))
    return DriftDocument(
        source=str(source),
        traces=str(path),
        artifact=known.artifact,
        by=known.by,
        status="check_failed" if large else "ok",
        advice="retrain" if large else "watch" if drifted else "stable",
        alpha=alpha,
        limit=limit,
        n=len(now.confidence),
        n_reference=known.answers.n,
        mean=float(now.confidence.mean()),
        mean_reference=known.answers.mean,
        tests=found,
        shifts=drift.shifts(known.answers, now),
        sent=_sent(source, known, now),
    )


def read_traces(path: Path, names: list[str]) -> Traces:
    """The traces in a .jsonl file; numbers of decisions become their `names`. Raises UserError that names the first wrong line."""
    import numpy as np

    from edgedistill.gate.drift import Traces

    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} can't be read ({error}), expected a .jsonl file of traces") from error
    confidences, decisions = list[float](), list[str]()
    for number, line in enumerate(lines, 1):
        if line.strip():
            confidence, decision = _trace(line, names, f"{path}:{number}")
            confidences.append(confidence)
            decisions += [decision] if decision is not None else []
    if len(confidences) < _FEWEST:
        raise UserError(f"{path} has {len(confidences)} traces, expected {_FEWEST} or more: collect more before you compare")
    if decisions and len(decisions) != len(confidences):
        raise UserError(f"{path} has {len(confidences)} traces, but {len(decisions)} with a decision, expected all or none")
    return Traces(np.array(confidences), decisions)


def _trace(line: str, names: list[str], where: str) -> tuple[float, str | None]:
    try:
        value = json.loads(line)
        confidence, decision = value["confidence"], value.get("decision")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        found = f"found {line[:60]!r}"
        raise UserError(f'{where}: {found}, expected an object such as {{"confidence": 0.98, "decision": "cat"}}') from error
    fits = isinstance(confidence, int | float) and not isinstance(confidence, bool) and math.isfinite(confidence)
    if not fits or not 0 <= confidence <= 1:
        raise UserError(f"{where}: found the confidence {confidence!r}, expected a number from 0 to 1")
    if decision is None or not names:
        return float(confidence), None if decision is None else str(decision)
    if isinstance(decision, int) and not isinstance(decision, bool) and 0 <= decision < len(names):
        return float(confidence), names[decision]
    if decision not in names:
        raise UserError(f"{where}: found the decision {decision!r}, expected one of {', '.join(names[:10])} or its number")
    return float(confidence), str(decision)


def _reference(source: Path, artifact: str | None) -> _Known:
    from edgedistill.files import read_json
    from edgedistill.gate.drift import answered
    from edgedistill.runs import read_run
    from edgedistill.steps.opening import opened
    from edgedistill.steps.watched import ENTRY_OF_REFERENCE, reference_of_run

    if source.is_file():
        return _Known(answered(read_traces(source, [])), [])
    if (source / MANIFEST_FILE).is_file():
        manifest = read_json(source / MANIFEST_FILE)
        entry, order = manifest.get(ENTRY_OF_REFERENCE), manifest["ship"]["order"]
        reference = None if entry is None else Reference.model_validate(entry)
    else:
        with opened(read_run, source) as run:
            reference, order = reference_of_run(run), []
    if reference is None or not reference.artifacts:
        raise UserError(
            f"{source} has no answers to compare with: its task has no confidence. Give a .jsonl file of earlier traces instead"
        )
    names = list(reference.artifacts)
    if artifact is not None and artifact not in names:
        raise UserError(f"{source} has no answers of {artifact}, expected one of {', '.join(names)}")
    chosen = artifact or next((name for name in order if name in names), names[0])
    return _Known(reference.artifacts[chosen], reference.decisions, chosen, reference.by)


def _sent(source: Path, known: _Known, now: Traces) -> Share | Unavailable:
    """How many traces the router of the source sends to the teacher."""
    import numpy as np

    from edgedistill.gate.router import Router
    from edgedistill.tasks.intervals import wilson

    if known.artifact is None:
        return Unavailable(unavailable="earlier traces have no router")
    try:
        router = Router.load(source, known.artifact)
    except UserError as error:
        return Unavailable(unavailable=str(error))
    always = {known.decisions[number] for number in router.always if number < len(known.decisions)}
    asked = np.isin(now.decisions, list(always)) if now.decisions else np.zeros(len(now.confidence), bool)
    asked |= True if router.threshold is None else now.confidence <= router.threshold
    count, n = int(asked.sum()), len(asked)
    return Share(value=count / n, count=count, n=n, interval=wilson(count, n))
