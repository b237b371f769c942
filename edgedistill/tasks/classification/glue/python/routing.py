"""Which answers a larger model, the teacher, has to give instead: the decision table of the bundle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .errors import BundleError
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
_ROUNDING = 1e-9


class Router:
    """The decision table.

    Args:
        manifest: The manifest of the bundle.
        artifact: Name of the artifact that answers, whose threshold counts.

    Raises:
        BundleError: The table is damaged, or of newer code.
    """

    def __init__(self, manifest: Mapping[str, Any], artifact: str) -> None:
        self._table: Mapping[str, Any] | None = manifest.get("router")
        self.threshold: float | None = None
        if self._table is None:
            return
        if self._table["by"] not in _MEASURES:
            raise BundleError(f"manifest.json: found router.by {self._table['by']!r}, expected {', '.join(_MEASURES)}; get newer code")
        if artifact not in self._table["thresholds"]:
            raise BundleError(f"manifest.json has no threshold of {artifact} in router.thresholds; get the bundle again")
        self.threshold = self._table["thresholds"][artifact]

    def confidence(self, prediction: Prediction) -> float:
        """How sure a prediction is, from 0 to 1; without a table its highest probability."""
        measure = "probability" if self._table is None else self._table["by"]
        return 1.0 if len(prediction.probabilities) == 1 else _MEASURES[measure](prediction.probabilities)

    def asks_teacher(self, prediction: Prediction) -> bool:
        """Whether the teacher has to answer instead; never without a table."""
        return self._table is not None and self._asks(prediction, self.threshold, self._table)

    def wrong_rows(self) -> int:
        """How many golden rows of the table are decided in another way here."""
        if (table := self._table) is None:
            return 0
        wrong = 0
        for row in table["golden"]:
            (scores,) = row["outputs"].values()
            prediction = Prediction((), probabilities(np.array(scores)))
            near = abs(self.confidence(prediction) - row["confidence"]) <= _ROUNDING
            wrong += not near or self._asks(prediction, table["golden_threshold"], table) != row["teacher"]
        return wrong

    def _asks(self, prediction: Prediction, threshold: float | None, table: Mapping[str, Any]) -> bool:
        # What is no number is not sure.
        unsure = threshold is None or not self.confidence(prediction) > threshold
        return unsure or int(prediction.probabilities.argmax()) in table["always"]
