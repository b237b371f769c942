"""Labels with their probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .errors import BundleError


@dataclass(frozen=True)
class Score:
    """A label with its probability."""

    label: str
    index: int
    probability: float


@dataclass(frozen=True)
class Prediction:
    """How probable each label is.

    Attributes:
        probabilities: float64 [labels], in the order of `labels`; they add up to 1.
        features: What is known of the request without the model, such as its length.
    """

    labels: tuple[str, ...]
    probabilities: np.ndarray
    features: Mapping[str, float] = field(default_factory=dict)

    @property
    def best(self) -> Score:
        """The label with the highest probability."""
        return self.top(1)[0]

    def top(self, count: int = 5) -> list[Score]:
        """The `count` labels with the highest probabilities, the highest first."""
        order = np.argsort(-self.probabilities, kind="stable")[:count]
        return [Score(self.labels[i], int(i), float(self.probabilities[i])) for i in order]


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Softmax of logits, float64 [labels]."""
    exponents: np.ndarray = np.exp(logits.reshape(-1).astype(np.float64) - logits.max())
    shares: np.ndarray = exponents / exponents.sum()
    return shares


def check_labels(labels: Sequence[str], output: Mapping[str, Any]) -> None:
    """Raise BundleError unless there are as many labels as the output has numbers."""
    if len(labels) != output["shape"][-1]:
        found = f"found {len(labels)} labels in manifest.json"
        raise BundleError(f"{found}, expected {output['shape'][-1]}, as {output['name']} has; get the bundle again")
