"""Compares traces of devices with the answers of a model on val, or with earlier traces."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from edgedistill.errors import UserError
from edgedistill.records import Unavailable
from edgedistill.records.drift import Answered, DriftDocument, Reference
from edgedistill.records.manifest import MANIFEST_FILE
from edgedistill.records.router import Share
from edgedistill.steps.traces import Trace, read_trace

if TYPE_CHECKING:
    import numpy as np

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
    `confidence`, 0 to 1, and, where something is decided, `decision`, its name or number; `features` of the request, numbers or texts by
    name, where the app knows some. artifact: the file that answered, by default
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
    # Requests that moved are no reason to train again where the answers to them did not.
    answers = [test for test in drifted if not test.name.startswith("input ")]
    large = any(test.statistic >= limit for test in answers if test.name.endswith(drift.STABILITY))
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
        inputs=drift.inputs(known.answers, now, found),
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
    found = [read_trace(line, names, f"{path}:{number}") for number, line in enumerate(lines, 1) if line.strip()]
    if len(found) < _FEWEST:
        raise UserError(f"{path} has {len(found)} traces, expected {_FEWEST} or more: collect more before you compare")
    decisions = [trace.decision for trace in found if trace.decision is not None]
    if decisions and len(decisions) != len(found):
        raise UserError(f"{path} has {len(found)} traces, but {len(decisions)} with a decision, expected all or none")
    return Traces(np.array([trace.confidence for trace in found]), decisions, _features(found, path))


def _features(found: list[Trace], path: Path) -> dict[str, np.ndarray | list[str]]:
    """The features of all traces, by name. Raises UserError for one that some traces lack, or that is of two kinds."""
    import numpy as np

    columns: dict[str, np.ndarray | list[str]] = {}
    for name in dict.fromkeys(name for trace in found for name in trace.features):
        values = [trace.features[name] for trace in found if name in trace.features]
        texts = [value for value in values if isinstance(value, str)]
        if len(values) != len(found) or len(texts) not in (0, len(values)):
            told = f"{len(values) - len(texts)} numbers and {len(texts)} texts"
            raise UserError(f"{path} has {len(found)} traces, and the feature {name} in them as {told}, expected one kind in all traces")
        columns[name] = texts or np.array(values, float)
    return columns


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
    features = {name: values for name, values in now.features.items() if not isinstance(values, list)}
    if missing := [rule.of for rule in router.when if rule.of not in features]:
        return Unavailable(unavailable=f"the router has a rule by {missing[0]}, which is none of the features of the traces")
    always = {known.decisions[number] for number in router.always if number < len(known.decisions)}
    asked = np.isin(now.decisions, list(always)) if now.decisions else np.zeros(len(now.confidence), bool)
    asked |= router.ruled_by(features, len(asked))
    asked |= True if router.threshold is None else now.confidence <= router.threshold
    count, n = int(asked.sum()), len(asked)
    return Share(value=count / n, count=count, n=n, interval=wilson(count, n))
