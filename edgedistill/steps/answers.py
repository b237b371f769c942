"""What the files of a student, and its teacher, gave for val, with the score of each answer: what a router is measured on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from edgedistill.records import Unavailable
from edgedistill.verify.scoring import Scorer

if TYPE_CHECKING:
    from edgedistill.recipe.schema import Recipe
    from edgedistill.run import Run

TEACHER = "teacher"


def answers(run: Run, recipe: Recipe) -> Answers:
    """The answers that a run stored."""
    return Answers(Scorer(run, recipe))


class Answers:
    """Outputs and scores of the artifacts of a run on val.

    Without targets a score says whether an artifact decides as the teacher does.
    """

    def __init__(self, scorer: Scorer) -> None:
        self._scorer, self._task = scorer, scorer.task
        self.against: Literal["targets", "teacher"] = "targets" if scorer.targets("val") else "teacher"

    @property
    def no_teacher(self) -> Unavailable:
        """Why nothing is said of the teacher."""
        return Unavailable(unavailable="the teacher was not scored on val")

    def why_not(self, name: str) -> str | None:
        """Why there are no scored answers of an artifact; None where there are."""
        if self._scorer.outputs(name) is None:
            return f"{name} was not run on val"
        if self.against == "teacher" and self._decided(TEACHER, name) is None:
            return f"{self._scorer.no_targets}, and no decisions of the teacher are known"
        return None

    def outputs(self, name: str) -> dict[str, np.ndarray]:
        """What an artifact gave, [n, ...] by the name of the output."""
        found = self._scorer.outputs(name)
        assert found is not None
        return dict(found)

    def scores(self, name: str) -> np.ndarray:
        """The score of each of these, bool or float [n] from 0 to 1."""
        if self.against == "teacher":
            ours, theirs = self._task.decide(self.outputs(name)), self._decided(TEACHER, name)
            assert ours is not None
            assert theirs is not None
            same = ours == theirs
            return same.reshape(len(same), -1).all(axis=1)  # type: ignore[no-any-return]
        found = self._scorer.scores(name)
        assert found is not None
        return found

    def scores_of_teacher(self, name: str) -> np.ndarray | None:
        """The teacher's scores of the samples that an artifact took, [n]; None where it has none."""
        if self.against == "teacher":
            return np.ones(len(self.scores(name)), bool)
        found = self._scorer.scores(TEACHER)
        return None if found is None else self._at(found, name)

    def _decided(self, rung: str, name: str) -> np.ndarray | None:
        found = self._scorer.outputs(rung)
        decided = None if found is None else self._task.decide(found)
        return None if decided is None else self._at(decided, name)

    def _at(self, values: np.ndarray, name: str) -> np.ndarray:
        places = self._scorer.places(name)
        return values if places is None else values[places]
