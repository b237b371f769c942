"""Whether answers on devices are still like those when the model was made: distributions of confidences, of decisions, and of
features of the requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from edgedistill.records import Unavailable
from edgedistill.records.drift import Answered, DecisionShift, Distribution, DriftTest, InputShift

_QUANTILES = 50
_OF_FEATURES = 20
_DIGITS = 5
"""Digits of the quantiles of features, which go into bundles."""
_BINS = 10
_DRAWS = 1999
_SMOOTHED = 0.5
"""Answers that are added to each count, so that an empty one has a logarithm."""
_SEED = 0
_SHOWN = 5
STABILITY = "stability"
_Found = tuple[float, tuple[float, float] | Unavailable, float]
"""A statistic, its interval, and the p-value."""


class Traces(NamedTuple):
    """Answers of devices: confidences float64 [n], and the names of the decisions, [n] or none.

    features: what was known of the requests, by name: numbers float64 [n], or texts [n].
    """

    confidence: np.ndarray
    decisions: Sequence[str]
    features: Mapping[str, np.ndarray | list[str]] = {}


def answered(traces: Traces) -> Answered:
    """The numbers that stand for `traces`."""
    features = {
        name: dict(sorted(Counter(values).items())) if isinstance(values, list) else _distribution(values, _OF_FEATURES, _DIGITS)
        for name, values in traces.features.items()
    }
    whole = _distribution(traces.confidence, _QUANTILES)
    return Answered(**dict(whole), decided=dict(sorted(Counter(traces.decisions).items())), features=features)


def _distribution(values: np.ndarray, quantiles: int, digits: int | None = None) -> Distribution:
    ordered = np.sort(values)
    chosen, edges = (
        np.quantile(ordered, parts, method="inverted_cdf") for parts in (np.linspace(0, 1, quantiles + 1), np.arange(1, _BINS) / _BINS)
    )
    if digits is not None:
        chosen, edges = (np.array([float(f"{value:.{digits}g}") for value in each]) for each in (chosen, edges))
    chosen, edges = np.unique(chosen), np.unique(edges)
    shares = _shares(ordered, chosen)
    return Distribution(
        n=len(ordered),
        mean=float(ordered.mean()),
        values=chosen.tolist(),
        shares=(shares if digits is None else shares.round(digits)).tolist(),
        edges=edges.tolist(),
        counts=_binned(ordered, edges).tolist(),
    )


def tests(reference: Answered, traces: Traces, alpha: float) -> list[DriftTest]:
    """Compare `traces` with `reference`. With the probability 1 - alpha at least none of the tests says drift where there is none."""
    found = _of_numbers("confidence", reference, traces.confidence)
    if reference.decided and traces.decisions:
        found[f"decisions: {STABILITY}"] = stability(*_decided(reference.decided, traces.decisions))
    for name in compared(reference, traces):
        known, values = reference.features[name], traces.features[name]
        if isinstance(known, Distribution):
            assert not isinstance(values, list)
            found |= _of_numbers(_input(name), known, values)
        else:
            found[f"{_input(name)}: {STABILITY}"] = stability(*_decided(known, list(values)))
    adjusted = _holm([p for _, _, p in found.values()])
    return [
        DriftTest(name=name, statistic=statistic, interval=interval, p=p, adjusted=all_, drifted=all_ <= alpha)
        for (name, (statistic, interval, p)), all_ in zip(found.items(), adjusted, strict=True)
    ]


def compared(reference: Answered, traces: Traces) -> list[str]:
    """The features that both have, of one kind."""
    return [
        name
        for name, known in reference.features.items()
        if name in traces.features and isinstance(known, Distribution) is not isinstance(traces.features[name], list)
    ]


def inputs(reference: Answered, traces: Traces, found: Sequence[DriftTest]) -> list[InputShift]:
    """How features of requests moved, those that the tests `found` to drift first."""
    drifted = {test.name.rpartition(": ")[0] for test in found if test.drifted}
    moved = []
    for name in compared(reference, traces):
        known, values = reference.features[name], traces.features[name]
        numbers = isinstance(known, Distribution) and not isinstance(values, list)
        before, now = (known.mean, float(np.mean(values))) if numbers else (None, None)  # type: ignore[union-attr, arg-type]
        moved.append(InputShift(feature=name, reference=before, traces=now, drifted=_input(name) in drifted))
    return sorted(moved, key=lambda shift: not shift.drifted)


def _input(feature: str) -> str:
    return f"input {feature}"


def _of_numbers(name: str, reference: Distribution, values: np.ndarray) -> dict[str, _Found]:
    """Both tests of the distribution of `values`."""
    counts = np.array(reference.counts), _binned(values, np.array(reference.edges))
    return {f"{name}: Kolmogorov-Smirnov": _kolmogorov(reference, values), f"{name}: {STABILITY}": stability(*counts)}


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


def _kolmogorov(reference: Distribution, values: np.ndarray) -> tuple[float, Unavailable, float]:
    """The largest difference of both distribution functions at the quantiles that the reference has, and its asymptotic p-value.

    The difference at all numbers is at least as large, so that the p-value is never too small, also with equal numbers.
    """
    from scipy.special import kolmogorov

    difference = float(np.abs(_shares(np.sort(values), np.array(reference.values)) - reference.shares).max())
    size = reference.n * len(values) / (reference.n + len(values))
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
