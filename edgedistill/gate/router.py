"""The router: answers of the student that are not sure enough go back to the teacher."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgedistill.errors import UserError
from edgedistill.files import read_json
from edgedistill.records.manifest import MANIFEST_FILE
from edgedistill.records.router import GoldenRoute, RiskModel, RouterDocument, RouterTable, Rule

if TYPE_CHECKING:
    import numpy as np

    from edgedistill.tasks.base import Arrays

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
        when: Rules by features of the request.
        risk: The model of the risk, where `by` is `risk`.
    """

    task: str
    by: str
    threshold: float | None
    always: tuple[int, ...] = ()
    when: tuple[Rule, ...] = ()
    risk: RiskModel | None = None

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
        return cls.of(table, table.thresholds[artifact or names[0]])

    @classmethod
    def of(cls, table: RouterTable, threshold: float | None) -> Router:
        """The router of a table with the threshold of an artifact."""
        return cls(table.task, table.by, threshold, tuple(table.always), tuple(table.when), table.risk)

    @property
    def reads(self) -> list[str]:
        """The features of the request that it reads."""
        return sorted({rule.of for rule in self.when} | set(self.risk.features if self.risk else ()))

    def confidence(self, outputs: Arrays, features: Arrays | None = None) -> np.ndarray:
        """How sure the outputs of n samples are, float64 [n] from 0 to 1.

        outputs: [n, ...] by the name of the output. features: [n] by name, of a router that `reads` some.
        """
        from edgedistill import tasks
        from edgedistill.gate import risk_model

        measures = tasks.task(self.task).confidences(outputs)
        return measures[self.by] if self.risk is None else risk_model.confidence(self.risk, measures, self._checked(features))

    def asks_teacher(self, outputs: Arrays, features: Arrays | None = None) -> np.ndarray:
        """Whether the teacher has to answer, bool [n]. outputs and features as for `confidence`."""
        import numpy as np

        ruled, confidence = self.ruled(outputs, features), self.confidence(outputs, features)
        # What is no number is not sure.
        return np.ones(len(confidence), bool) if self.threshold is None else ruled | ~(confidence > self.threshold)

    def ruled(self, outputs: Arrays, features: Arrays | None = None) -> np.ndarray:
        """Which answers go to the teacher whatever their confidence is, bool [n].

        Raises UserError for a rule by decisions where the task makes none.
        """
        import numpy as np

        from edgedistill import tasks

        task, known = tasks.task(self.task), self._checked(features)
        sent = np.zeros(len(next(iter(outputs.values()))), bool)
        if self.always:
            decided = None if task.writes else task.decide(outputs)
            if decided is None or decided.ndim != 1:
                raise UserError(f"models of the task {self.task} do not make one decision for a sample; leave out --always")
            sent |= np.isin(decided, self.always)
        return sent | self.ruled_by(known, len(sent))

    def ruled_by(self, features: Arrays, n: int) -> np.ndarray:
        """For which of n requests a rule by `features`, [n] by name, holds, bool [n]."""
        import numpy as np

        sent = np.zeros(n, bool)
        for rule in self.when:
            # What is no number is not known to be harmless.
            above, below = math.inf if rule.above is None else rule.above, -math.inf if rule.below is None else rule.below
            sent |= ~((features[rule.of] <= above) & (features[rule.of] >= below))
        return sent

    def _checked(self, features: Arrays | None) -> Arrays:
        found = features or {}
        if missing := [name for name in self.reads if name not in found]:
            raise UserError(f"the router reads {', '.join(missing)} of the request, found no such feature: give `features`")
        return found


def made_table(router: Router, thresholds: Mapping[str, float | None]) -> RouterTable:
    """The decision table of `router` with `thresholds` by artifact, with golden rows of made outputs on both sides of a threshold."""
    import numpy as np

    from edgedistill import tasks

    made = tasks.task(router.task).sure_and_unsure()
    golden, between = list[GoldenRoute](), 0.5
    if made:
        features = _made_features(router, len(next(iter(made.values()))))
        ranked = np.unique(router.confidence(made, features))
        # Between two rows, so that rounding moves none across.
        between = float((ranked[len(ranked) // 2 - 1] + ranked[len(ranked) // 2]) / 2)
        golden_router = replace(router, threshold=between)
        found, asked = golden_router.confidence(made, features), golden_router.asks_teacher(made, features)
        for row, (confidence, teacher) in enumerate(zip(found.tolist(), asked.tolist(), strict=True)):
            outputs = {name: values[row].tolist() for name, values in made.items()}
            own = {name: float(values[row]) for name, values in features.items()}
            golden.append(GoldenRoute(outputs=outputs, features=own, confidence=confidence, teacher=teacher))
    return RouterTable(
        task=router.task, by=router.by, always=list(router.always), when=list(router.when), risk=router.risk, thresholds=dict(thresholds),
        golden_threshold=between, golden=golden,
    )  # fmt: skip


def _made_features(router: Router, count: int) -> dict[str, np.ndarray]:
    """Features of made requests, [count] by name: at the numbers of rules, and on both sides of each."""
    import numpy as np

    found = {}
    for place, name in enumerate(router.reads):
        ends = [end for rule in router.when if rule.of == name for end in (rule.above, rule.below) if end is not None]
        values = sorted({value for end in ends for value in (end - 1, end, end + 1)}) or [0.0, 0.5, 1.0]
        found[name] = np.array([values[(row // (place + 1)) % len(values)] for row in range(count)])
    return found


def _table(folder: Path) -> RouterTable:
    if (file := folder / ROUTER_FILE).is_file():
        return RouterDocument.read(file).table
    if (file := folder / MANIFEST_FILE).is_file() and (entry := read_json(file).get(ENTRY)) is not None:
        return RouterTable.model_validate(entry)
    raise UserError(f"{folder} has no router, expected a run after `edgedistill route`, or a bundle that was written after it")
