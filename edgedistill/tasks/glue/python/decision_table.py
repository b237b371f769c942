"""Which answers a larger model, the teacher, has to give instead: the decision table of the bundle."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from .errors import BundleError

_ROUNDING = 1e-9
_RISK = "risk"
_EDGE = 1e-4
"""What keeps the odds of a full confidence finite."""
_LARGE = 700.0
"""The exponential of more is no finite number."""


class _Known(Protocol):
    @property
    def features(self) -> Mapping[str, float]:
        """What is known of the request."""


Answer = TypeVar("Answer", bound=_Known)


class DecisionTable(ABC, Generic[Answer]):
    """The decision table.

    Args:
        manifest: The manifest of the bundle.
        artifact: Name of the artifact that answers, whose threshold counts.
        features: What this package knows of requests, by name.

    Raises:
        BundleError: The table is damaged, or of newer code.
    """

    names: ClassVar[tuple[str, ...]]
    """The measures of confidence; the first one counts where the bundle has no table."""

    def __init__(self, manifest: Mapping[str, Any], artifact: str, features: Collection[str]) -> None:
        self._table: Mapping[str, Any] | None = manifest.get("router")
        self.threshold: float | None = None
        if self._table is None:
            return
        known, risk = (*self.names, _RISK), self._table.get("risk") or {"measures": {}, "features": {}}
        if self._table["by"] not in known or not set(risk["measures"]) <= set(self.names):
            raise BundleError(f"manifest.json: found router.by {self._table['by']!r}, expected {', '.join(known)}; get newer code")
        read = {rule["of"] for rule in self._table.get("when", [])} | set(risk["features"])
        if read - set(features):
            found, expected = (", ".join(sorted(names)) for names in (read, features))
            raise BundleError(f"manifest.json: found a router that reads {found}, expected features among {expected}; get newer code")
        if artifact not in self._table["thresholds"]:
            raise BundleError(f"manifest.json has no threshold of {artifact} in router.thresholds; get the bundle again")
        self.threshold = self._table["thresholds"][artifact]

    def confidence(self, answer: Answer) -> float:
        """How sure an answer is, from 0 to 1; without a table by the first measure."""
        if self._table is None or self._table["by"] != _RISK:
            return self._measure(answer, self.names[0] if self._table is None else self._table["by"])
        model = self._table["risk"]
        risk = model["intercept"] + sum(weight * answer.features[name] for name, weight in model["features"].items())
        risk += sum(weight * _odds(self._measure(answer, name)) for name, weight in model["measures"].items())
        return 1 / (1 + math.exp(min(risk, _LARGE)))

    def asks_teacher(self, answer: Answer) -> bool:
        """Whether the teacher has to answer instead; never without a table."""
        return self._table is not None and self._asks(answer, self.threshold, self._table)

    def trace(self, answer: Answer) -> dict[str, Any]:
        """What `edgedistill monitor` is told of an answer: a line of its file of traces, as JSON."""
        decision = self._decision(answer)
        told: dict[str, Any] = {"confidence": self.confidence(answer)} | ({} if decision is None else {"decision": decision})
        return told | ({"features": dict(answer.features)} if answer.features else {})

    def wrong_rows(self) -> int:
        """How many golden rows of the table are decided in another way here."""
        if (table := self._table) is None:
            return 0
        wrong = 0
        for row in table["golden"]:
            answer = self._made(row["outputs"], row.get("features", {}))
            near = abs(self.confidence(answer) - row["confidence"]) <= _ROUNDING
            wrong += not near or self._asks(answer, table["golden_threshold"], table) != row["teacher"]
        return wrong

    def _asks(self, answer: Answer, threshold: float | None, table: Mapping[str, Any]) -> bool:
        # What is no number is not sure.
        unsure = threshold is None or not self.confidence(answer) > threshold
        ruled = any(_holds(rule, answer.features[rule["of"]]) for rule in table.get("when", []))
        return unsure or ruled or self._decision(answer) in table["always"]

    @abstractmethod
    def _measure(self, answer: Answer, name: str) -> float:
        """One of the measures, from 0 to 1."""

    @abstractmethod
    def _made(self, outputs: Mapping[str, Sequence[float]], features: Mapping[str, float]) -> Answer:
        """The answer of a golden row."""

    def _decision(self, answer: Answer) -> int | None:
        """The number of what is decided; None where nothing is."""
        return None


def _odds(confidence: float) -> float:
    return math.log((confidence + _EDGE) / (1 + _EDGE - confidence))


def _holds(rule: Mapping[str, Any], value: float) -> bool:
    above, below = rule.get("above"), rule.get("below")
    # What is no number is not known to be harmless.
    return (above is not None and not value <= above) or (below is not None and not value >= below)
