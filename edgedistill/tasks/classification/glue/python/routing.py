"""How sure predictions are, and which of them the teacher has to make instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from .decision_table import DecisionTable
from .scores import Prediction, probabilities


def _margin(shares: np.ndarray) -> float:
    second, first = np.sort(shares)[-2:]
    return float(first - second)


def _certainty(shares: np.ndarray) -> float:
    positive = shares[shares > 0]
    return float(1 + (positive * np.log(positive)).sum() / np.log(len(shares)))


_MEASURES: Mapping[str, Callable[[np.ndarray], float]] = {
    "probability": lambda shares: float(shares.max()), "margin": _margin, "entropy": _certainty,
}  # fmt: skip


class Router(DecisionTable[Prediction]):
    """The decision table of predictions."""

    names = tuple(_MEASURES)

    def _measure(self, answer: Prediction, name: str) -> float:
        return 1.0 if len(answer.probabilities) == 1 else _MEASURES[name](answer.probabilities)

    def _made(self, outputs: Mapping[str, Sequence[float]], features: Mapping[str, float]) -> Prediction:
        (scores,) = outputs.values()
        return Prediction((), probabilities(np.array(scores)), features)

    def _decision(self, answer: Prediction) -> int:
        return int(answer.probabilities.argmax())
