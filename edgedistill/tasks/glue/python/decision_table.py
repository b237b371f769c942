"""Which answers a larger model, the teacher, has to give instead: the decision table of the bundle."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

from .errors import BundleError

_ROUNDING = 1e-9
Answer = TypeVar("Answer")


class DecisionTable(ABC, Generic[Answer]):
    """The decision table.

    Args:
        manifest: The manifest of the bundle.
        artifact: Name of the artifact that answers, whose threshold counts.

    Raises:
        BundleError: The table is damaged, or of newer code.
    """

    names: ClassVar[tuple[str, ...]]
    """The measures of confidence; the first one counts where the bundle has no table."""

    def __init__(self, manifest: Mapping[str, Any], artifact: str) -> None:
        self._table: Mapping[str, Any] | None = manifest.get("router")
        self.threshold: float | None = None
        if self._table is None:
            return
        if self._table["by"] not in self.names:
            raise BundleError(f"manifest.json: found router.by {self._table['by']!r}, expected {', '.join(self.names)}; get newer code")
        if artifact not in self._table["thresholds"]:
            raise BundleError(f"manifest.json has no threshold of {artifact} in router.thresholds; get the bundle again")
        self.threshold = self._table["thresholds"][artifact]

    def confidence(self, answer: Answer) -> float:
        """How sure an answer is, from 0 to 1; without a table by the first measure."""
        return self._measure(answer, self.names[0] if self._table is None else self._table["by"])

    def asks_teacher(self, answer: Answer) -> bool:
        """Whether the teacher has to answer instead; never without a table."""
        return self._table is not None and self._asks(answer, self.threshold, self._table)

    def wrong_rows(self) -> int:
        """How many golden rows of the table are decided in another way here."""
        if (table := self._table) is None:
            return 0
        wrong = 0
        for row in table["golden"]:
            answer = self._made(row["outputs"])
            near = abs(self.confidence(answer) - row["confidence"]) <= _ROUNDING
            wrong += not near or self._asks(answer, table["golden_threshold"], table) != row["teacher"]
        return wrong

    def _asks(self, answer: Answer, threshold: float | None, table: Mapping[str, Any]) -> bool:
        # What is no number is not sure.
        unsure = threshold is None or not self.confidence(answer) > threshold
        return unsure or self._decision(answer) in table["always"]

    @abstractmethod
    def _measure(self, answer: Answer, name: str) -> float:
        """One of the measures, from 0 to 1."""

    @abstractmethod
    def _made(self, outputs: Mapping[str, Sequence[float]]) -> Answer:
        """The answer of a golden row."""

    def _decision(self, answer: Answer) -> int | None:
        """The number of what is decided; None where nothing is."""
        return None
