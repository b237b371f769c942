"""Whether answers on devices are still like those when the model was made: distributions of confidences and of decisions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from edgedistill.records import Unavailable
from edgedistill.records.drift import Answered, DecisionShift, DriftTest, TestName

_QUANTILES = 50
_BINS = 10
_DRAWS = 1999
_SMOOTHED = 0.5
"""Answers that are added to each count, so that an empty one has a logarithm."""
_SEED = 0
_SHOWN = 5


class Traces(NamedTuple):
    """Answers of devices: confidences float64 [n], and the names of the decisions, [n] or none."""

    confidence: np.ndarray
    decisions: Sequence[str]


def answered(traces: Traces) -> Answered:
    """The numbers that stand for `traces`."""
    confidence = np.sort(traces.confidence)
    n = len(confidence)
    values = np.unique(np.quantile(confidence, np.linspace(0, 1, _QUANTILES + 1), method="inverted_cdf"))
    edges = np.unique(np.quantile(confidence, np.arange(1, _BINS) / _BINS, method="inverted_cdf"))
    return Answered(
        n=n,
        mean=float(confidence.mean()),
        values=values.tolist(),
        shares=_shares(confidence, values).tolist(),
        edges=edges.tolist(),
        counts=_binned(confidence, edges).tolist(),
        decided=dict(sorted(Counter(traces.decisions).items())),
    )


def tests(reference: Answered, traces: Traces, alpha: float) -> list[DriftTest]:
    """Compare `traces` with `reference`. With the probability 1 - alpha at least none of the tests says drift where there is none."""
    counts = np.array(reference.counts), _binned(traces.confidence, np.array(reference.edges))
    found: dict[TestName, tuple[float, tuple[float, float] | Unavailable, float]] = {
        "confidence: Kolmogorov-Smirnov": _kolmogorov(reference, traces.confidence),
        "confidence: stability": stability(*counts),
    }
    if reference.decided and traces.decisions:
        found["decisions: stability"] = stability(*_decided(reference.decided, traces.decisions))
    adjusted = _holm([p for _, _, p in found.values()])
    return [
        DriftTest(name=name, statistic=statistic, interval=interval, p=p, adjusted=all_, drifted=all_ <= alpha)
        for (name, (statistic, interval, p)), all_ in zip(found.items(), adjusted, strict=True)
    ]


def stability(reference: np.ndarray, found: np.ndarray) -> tuple[float, tuple[float, float], float]:
    """The population stability index of two lists of counts, int [k], its 95% interval, and the p-value of one distribution.

    The index is the sum of (q - p) log(q / p) over the shares p and q (Lewis 1994; Siddiqi 2006, Credit Risk Scorecards). It is above 0
    for samples of one distribution too (Yurdakul and Naranjo 2020, Journal of Risk Model Validation 14). That bias is the mean over
    random divisions of all answers into two samples of these sizes, and is subtracted. The p-value is the share of these divisions with
    an index at least as large; it is right for small counts too. The interval is of bootstrap samples.
    """
    rng, raw = np.random.default_rng(_SEED), float(_index(reference, found))
    pooled = reference + found
    divided = rng.multivariate_hypergeometric(pooled, int(found.sum()), size=_DRAWS, method="marginals")
    under = _index(pooled - divided, divided)
    bias = float(under.mean())
    p = (1 + int((under >= raw - 1e-12).sum())) / (1 + _DRAWS)
    sampled = [rng.multinomial(int(counts.sum()), counts / counts.sum(), size=_DRAWS) for counts in (reference, found)]
    # A bootstrap sample has the bias of the sample, and its own.
    low, high = np.quantile(_index(*sampled) - 2 * bias, (0.025, 0.975)).clip(min=0).tolist()
    return max(0.0, raw - bias), (low, high), p


def shifts(reference: Answered, traces: Traces) -> list[DecisionShift]:
    """The decisions whose shares differ most."""
    if not reference.decided or not traces.decisions:
        return []
    names = sorted({*reference.decided, *traces.decisions})
    before, now = _decided(reference.decided, traces.decisions)
    pairs = zip(names, (before / before.sum()).tolist(), (now / now.sum()).tolist(), strict=True)
    found = [DecisionShift(decision=name, reference=a, traces=b) for name, a, b in pairs]
    return sorted(found, key=lambda shift: -abs(shift.traces - shift.reference))[:_SHOWN]


def _kolmogorov(reference: Answered, confidence: np.ndarray) -> tuple[float, Unavailable, float]:
    """The largest difference of both distribution functions at the quantiles that the reference has, and its asymptotic p-value.

    The difference at all confidences is at least as large, so that the p-value is never too small, also with equal confidences.
    """
    from scipy.special import kolmogorov

    difference = float(np.abs(_shares(np.sort(confidence), np.array(reference.values)) - reference.shares).max())
    size = reference.n * len(confidence) / (reference.n + len(confidence))
    return difference, Unavailable(unavailable="not computed for this test"), float(kolmogorov(difference * np.sqrt(size)))


def _shares(ordered: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.searchsorted(ordered, values, side="right") / len(ordered)


def _binned(confidence: np.ndarray, edges: np.ndarray) -> np.ndarray:
    return np.bincount(np.searchsorted(edges, confidence, side="left"), minlength=len(edges) + 1)


def _decided(reference: Mapping[str, int], decisions: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    now = Counter(decisions)
    names = sorted({*reference, *now})
    return np.array([reference.get(name, 0) for name in names]), np.array([now[name] for name in names])


def _index(reference: np.ndarray, found: np.ndarray) -> np.ndarray:
    """The stability index of counts [..., k]."""
    p, q = (counts + _SMOOTHED for counts in (reference, found))
    p, q = p / p.sum(axis=-1, keepdims=True), q / q.sum(axis=-1, keepdims=True)
    return np.asarray(((q - p) * np.log(q / p)).sum(axis=-1))


def _holm(values: Sequence[float]) -> list[float]:
    """p-values for all tests together (Holm 1979, Scandinavian Journal of Statistics 6)."""
    adjusted, largest = [0.0] * len(values), 0.0
    for rank, place in enumerate(np.argsort(values, kind="stable").tolist()):
        largest = max(largest, min(1.0, (len(values) - rank) * values[place]))
        adjusted[place] = largest
    return adjusted
