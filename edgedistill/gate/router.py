"""The router: answers of the student that are not sure enough go back to the teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgedistill.errors import UserError
from edgedistill.files import read_json
from edgedistill.records.manifest import MANIFEST_FILE
from edgedistill.records.router import GoldenRoute, RouterDocument, RouterTable

if TYPE_CHECKING:
    import numpy as np

ROUTER_FILE = "router.json"
"""What `edgedistill route` writes into a run."""
ENTRY = "router"
"""The entry of a bundle's manifest that holds the table."""


@dataclass(frozen=True)
class Router:
    """Says which answers of an artifact its teacher has to give instead.

    Attributes:
        task: Name of the task, which knows how sure outputs are.
        by: The measure of confidence, such as `probability`.
        threshold: The teacher is asked where the confidence is at most this; None for all.
        always: Numbers of decisions for which the teacher is always asked.
    """

    task: str
    by: str
    threshold: float | None
    always: tuple[int, ...] = ()

    @classmethod
    def load(cls, folder: str | Path, artifact: str | None = None) -> Router:
        """The router of a run, after `edgedistill route`, or of a bundle.

        artifact: name of the file that answers, whose threshold counts; by default the first one of the table.

        Raises UserError where there is no router, or it has no such artifact.
        """
        table = _table(Path(folder))
        names = list(table.thresholds)
        if artifact is not None and artifact not in names:
            raise UserError(f"the router in {folder} has no artifact {artifact}, expected one of {', '.join(names)}")
        return cls(table.task, table.by, table.thresholds[artifact or names[0]], tuple(table.always))

    def confidence(self, outputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """How sure the outputs of n samples are, float64 [n] from 0 to 1. outputs: [n, ...] by the name of the output."""
        from edgedistill import tasks

        return tasks.task(self.task).confidences(outputs)[self.by]

    def asks_teacher(self, outputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Whether the teacher has to answer, bool [n]. outputs: [n, ...] by the name of the output."""
        import numpy as np

        from edgedistill import tasks

        confidence = self.confidence(outputs)
        if self.threshold is None:
            return np.ones(len(confidence), bool)
        # What is no number is not sure.
        unsure = ~(confidence > self.threshold)
        if not self.always:
            return unsure
        decided = tasks.task(self.task).decide(outputs)
        assert decided is not None
        return unsure | np.isin(decided, self.always)


def made_table(task: str, by: str, always: Sequence[int], thresholds: Mapping[str, float | None]) -> RouterTable:
    """The decision table of `thresholds` by artifact, with golden rows of made outputs on both sides of a threshold."""
    import numpy as np

    from edgedistill import tasks

    made = tasks.task(task).sure_and_unsure()
    golden, between = list[GoldenRoute](), 0.5
    if made:
        found = Router(task, by, None).confidence(made)
        ranked = np.unique(found)
        # Between two rows, so that rounding moves none across.
        between = float((ranked[len(ranked) // 2 - 1] + ranked[len(ranked) // 2]) / 2)
        asked = Router(task, by, between, tuple(always)).asks_teacher(made)
        for row, (confidence, teacher) in enumerate(zip(found.tolist(), asked.tolist(), strict=True)):
            outputs = {name: values[row].tolist() for name, values in made.items()}
            golden.append(GoldenRoute(outputs=outputs, confidence=confidence, teacher=teacher))
    return RouterTable(
        task=task, by=by, always=list(always), thresholds=dict(thresholds), golden_threshold=between, golden=golden
    )  # fmt: skip


def _table(folder: Path) -> RouterTable:
    if (file := folder / ROUTER_FILE).is_file():
        return RouterDocument.read(file).table
    if (file := folder / MANIFEST_FILE).is_file() and (entry := read_json(file).get(ENTRY)) is not None:
        return RouterTable.model_validate(entry)
    raise UserError(f"{folder} has no router, expected a run after `edgedistill route`, or a bundle that was written after it")
