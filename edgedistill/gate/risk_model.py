"""A model of the risk: how probable it is that an answer is wrong, by all measures of its confidence and features of the request."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgedistill.records.router import RiskModel

_EDGE = 1e-4
"""What keeps the odds of a full confidence finite; in all languages alike."""
_RIDGE = 10.0
_STEPS = 50
_DIGITS = 9


def fit(measures: Mapping[str, np.ndarray], features: Mapping[str, np.ndarray], losses: np.ndarray) -> RiskModel | None:
    """Logistic regression of `losses` [n] in 0..1 on measures in 0..1 and features, [n] each; None where all losses are the same.

    Numbers are standardized, and the squares of their weights are penalized (ridge; le Cessie and van Houwelingen 1992, Applied
    Statistics 41): measures go together, and errors are few. Newton's method finds the only minimum.
    """
    if len(losses) == 0 or (losses == losses[0]).all():
        return None
    known = {**{name: _odds(values) for name, values in measures.items()}, **features}
    # What is no number is not sure, and has the lowest odds.
    known = {name: np.nan_to_num(values, nan=float(_odds(np.array(0.0)))) for name, values in known.items()}
    known = {name: values for name, values in known.items() if values.std() > 0}
    columns = np.stack([np.ones(len(losses)), *((values - values.mean()) / values.std() for values in known.values())], axis=1)
    penalty = np.full(columns.shape[1], _RIDGE)
    penalty[0] = 0.0
    weights = np.zeros(columns.shape[1])
    for _ in range(_STEPS):
        wrong = _logistic(columns @ weights)
        slope = columns.T @ (wrong - losses) + penalty * weights
        curvature = (columns * (wrong * (1 - wrong))[:, None]).T @ columns + np.diag(penalty)
        step = np.linalg.solve(curvature, slope)
        # Far from the minimum a whole step may be too long.
        weights = weights - step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < 1e-10:
            break
    scaled = {name: float(weight / known[name].std()) for name, weight in zip(known, weights[1:], strict=True)}
    intercept = float(weights[0] - sum(weight * known[name].mean() for name, weight in scaled.items()))
    parts = ({name: round(weight, _DIGITS) for name, weight in scaled.items() if name in part} for part in (measures, features))
    return RiskModel(intercept=round(intercept, _DIGITS), **dict(zip(("measures", "features"), parts, strict=True)))


def confidence(model: RiskModel, measures: Mapping[str, np.ndarray], features: Mapping[str, np.ndarray]) -> np.ndarray:
    """1 less the probability that an answer is wrong, float64 [n]."""
    risk = np.full(len(next(iter(measures.values()))), model.intercept)
    for name, weight in model.measures.items():
        risk += weight * _odds(measures[name])
    for name, weight in model.features.items():
        risk += weight * features[name]
    return _logistic(-risk)


def cross_fitted(measures: Mapping[str, np.ndarray], features: Mapping[str, np.ndarray], losses: np.ndarray) -> np.ndarray | None:
    """The same of n answers, each by the model of the half that it is not in; None where a half has no model."""
    first, found = half(len(losses)), np.zeros(len(losses))
    for own in (first, ~first):
        if (model := fit(_at(measures, ~own), _at(features, ~own), losses[~own])) is None:
            return None
        found[own] = confidence(model, _at(measures, own), _at(features, own))
    return found


def half(n: int) -> np.ndarray:
    """Which of n samples a model is fitted on, bool [n]: half of them, the same each time."""
    chosen = np.zeros(n, bool)
    chosen[np.random.default_rng(0).permutation(n)[: n // 2]] = True
    return chosen


def _at(arrays: Mapping[str, np.ndarray], rows: np.ndarray) -> dict[str, np.ndarray]:
    return {name: values[rows] for name, values in arrays.items()}


def _odds(confidence: np.ndarray) -> np.ndarray:
    return np.asarray(np.log((confidence + _EDGE) / (1 + _EDGE - confidence)))


def _logistic(values: np.ndarray) -> np.ndarray:
    from scipy.special import expit

    return np.asarray(expit(values))
