"""What a router does with the answers of one artifact to val: what it sends, keeps and misses."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edgedistill.errors import UserError
from edgedistill.gate import risk_model, selective
from edgedistill.gate.risk import upper_bound
from edgedistill.records import Unavailable
from edgedistill.records.router import Risk, RiskModel, RiskPoint, RoutedArtifact, RoutedScore, Share

if TYPE_CHECKING:
    from edgedistill.gate.router import Router
    from edgedistill.records import ArtifactResult
    from edgedistill.steps.answers import Answers
    from edgedistill.tasks.base import Arrays, Task

RISK = "risk"
"""The measure that a model of the risk gives."""
_POINTS = 20


class Aim(NamedTuple):
    """What is asked for: a share that is sent, or a risk that is kept."""

    rate: float | None
    risk: float | None
    confidence: float


def routed(task: Task, found: Answers, artifact: ArtifactResult, router: Router, aim: Aim) -> tuple[Router, RoutedArtifact]:
    """The router with the threshold of an artifact, and its figures.

    Of a router with a model of the risk they are those of the answers that the model was not fitted on.
    """
    name, delta = artifact.name, 1 - aim.confidence
    rows = _judged(found, name) if router.risk else np.arange(len(found.scores(name)))
    every = found.outputs(name)
    assert every is not None
    outputs, features = (_at(arrays, rows) for arrays in (every, found.features(name)))
    scores, teacher = found.scores(name)[rows], found.scores_of_teacher(name)
    losses, confidence, ruled = 1.0 - scores, router.confidence(outputs, features), router.ruled(outputs, features)
    able = np.where(ruled, -np.inf, confidence)
    if aim.rate is not None:
        threshold: float | None = selective.threshold_of_rate(able, aim.rate)
    else:
        assert aim.risk is not None
        threshold = selective.threshold_of_risk(able, losses, aim.risk, delta)
        delta /= selective.GRID
    router = replace(router, threshold=threshold)
    sent, n = router.asks_teacher(outputs, features), len(rows)
    kept, theirs = losses[~sent], None if teacher is None else teacher[rows]
    none = Unavailable(unavailable="nothing is kept")
    return router, RoutedArtifact(
        name=name,
        sha256=artifact.sha256,
        n=n,
        threshold=threshold,
        sent=share(int(sent.sum()), n),
        risk=Risk(value=float(kept.mean()), bound=upper_bound(kept, delta), confidence=1 - delta) if len(kept) else none,
        score=found.no_teacher if theirs is None else _score(task, scores, theirs, sent),
        by_rules=int(ruled.sum()),
        errors=int((losses > 0).sum()),
        caught=int((losses[sent] > 0).sum()),
        misses=found.no_teacher if theirs is None else int((scores[~sent] < theirs[~sent]).sum()),
        aurc=_areas(task.confidences(outputs), features, losses, confidence if router.risk else None),
        curve=_points(selective.curve(confidence, losses)),
    )


def fitted(found: Answers, name: str) -> RiskModel:
    """A model of the risk by half of an artifact's answers to val. Raises UserError where all of these are right, or wrong."""
    places = found.places(name)
    rows = np.flatnonzero(_fitting(found)[places])
    losses = 1.0 - found.scores(name)[rows]
    model = risk_model.fit(_at(found.confidences(name), rows), _at(found.features(name), rows), losses)
    if model is None:
        kinds = f"found {len(rows)} of one kind of {name}"
        raise UserError(f"a model of the risk learns from answers that are right and wrong, {kinds}: take another --by")
    return model


def _fitting(found: Answers) -> np.ndarray:
    """Which samples of val a model of the risk is fitted on, bool [N]."""
    return risk_model.half(found.count)


def _judged(found: Answers, name: str) -> np.ndarray:
    """The rows of an artifact whose samples no model was fitted on, int [n]."""
    return np.flatnonzero(~_fitting(found)[found.places(name)])


def _areas(measures: Arrays, features: Arrays, losses: np.ndarray, by_model: np.ndarray | None) -> dict[str, float]:
    """The area under the curve by each measure, and by a model of the risk: `by_model` [n], or one that is fitted crosswise."""
    known = dict(measures)
    if (risk := risk_model.cross_fitted(measures, features, losses) if by_model is None else by_model) is not None:
        known[RISK] = risk
    return {name: selective.aurc(values, losses) for name, values in known.items()}


def _at(arrays: Arrays, rows: np.ndarray) -> dict[str, np.ndarray]:
    return {name: values[rows] for name, values in arrays.items()}


def _points(curve: selective.Curve) -> list[RiskPoint]:
    """Some points of a curve, spread evenly over the coverages."""
    wanted = np.linspace(1 / _POINTS, 1, _POINTS)
    places = np.unique(np.searchsorted(curve.coverage, wanted - 1e-12).clip(max=len(curve.coverage) - 1))
    columns = (curve.coverage[places], curve.risk[places], curve.confidence[places])
    return [RiskPoint(coverage=c, risk=r, confidence=s) for c, r, s in zip(*(column.tolist() for column in columns), strict=True)]


def share(count: int, n: int) -> Share:
    """The share of `count` of n samples, with its interval."""
    from edgedistill.tasks.intervals import wilson

    return Share(value=count / n, count=count, n=n, interval=wilson(count, n))


def _score(task: Task, student: np.ndarray, teacher: np.ndarray, sent: np.ndarray) -> RoutedScore:
    routed = np.where(sent, teacher, student)
    difference, low, high = task.paired(routed, teacher)
    means = {name: float(values.mean()) for name, values in (("student", student), ("teacher", teacher), ("routed", routed))}
    return RoutedScore(**means, against_teacher=difference, interval=(low, high))
