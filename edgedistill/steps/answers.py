"""What the files of a student, and its teacher, answered for val, with the score of each answer: what a router is measured on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cache, cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from edgedistill.errors import UserError
from edgedistill.records import Unavailable
from edgedistill.records.metric import Metric
from edgedistill.tasks.sections import Trial
from edgedistill.verify import stored
from edgedistill.verify.scoring import Scorer

if TYPE_CHECKING:
    from edgedistill.recipe.schema import Recipe
    from edgedistill.run import Run
    from edgedistill.tasks.base import Arrays
    from edgedistill.tasks.data import DataFacts

TEACHER = "teacher"
_AT_ONCE = 256
_MORE = "go on with `edgedistill run` of the run's recipe"


def answers(run: Run, recipe: Recipe, right: str | None = None) -> Answers:
    """The answers that a run stored: of models that write, those of its trials.

    right: what of a written answer says that it is right, by default what the task says. Raises UserError where none are written.
    """
    scorer = Scorer(run, recipe)
    if scorer.task.writes:
        return WrittenAnswers(scorer, right or scorer.task.right)
    if right is not None:
        raise UserError(f"found --right {right}, but models of the task {scorer.task.name} write no answers; leave it out")
    return Outputs(scorer)


class Answers(ABC):
    """Answers of the artifacts of a run, and their scores."""

    against: Literal["targets", "teacher"] = "targets"
    """What scores are measured against."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer, self._task = scorer, scorer.task

    @property
    @abstractmethod
    def metric(self) -> Metric:
        """What a score says."""

    @property
    def no_teacher(self) -> Unavailable:
        """Why nothing is said of the teacher."""
        return Unavailable(unavailable="the teacher was not scored on val")

    @abstractmethod
    def why_not(self, name: str) -> str | None:
        """Why there are no scored answers of an artifact; None where there are."""

    @abstractmethod
    def outputs(self, name: str) -> Arrays | None:
        """What `Task.confidences` reads of an artifact's answers, [n, ...] by name; None where there is nothing."""

    @abstractmethod
    def scores(self, name: str) -> np.ndarray:
        """The score of each of these, bool or float [n] from 0 to 1."""

    @abstractmethod
    def scores_of_teacher(self, name: str) -> np.ndarray | None:
        """The teacher's scores of the samples that an artifact took, [n]; None where it has none."""

    @abstractmethod
    def features(self, name: str) -> dict[str, np.ndarray]:
        """What is known of the requests of these without a model, float64 [n] by name."""

    @property
    def facts(self) -> DataFacts:
        """What is known of the data of the run."""
        return self._scorer.data.facts

    @property
    def count(self) -> int:
        """Samples of val, to all of which there may be answers."""
        return len(self._scorer.data.indices["val"])

    def places(self, name: str) -> np.ndarray:
        """Places of these among all of val, int [n]."""
        return np.arange(len(self.scores(name)))

    def confidences(self, name: str) -> dict[str, np.ndarray]:
        """How sure an artifact is of each of its answers, float64 [n] by the measure; empty where there are no outputs, or no measures."""
        outputs = self.outputs(name)
        return {} if outputs is None else self._task.confidences(outputs)


class Outputs(Answers):
    """Outputs of programs on val. Without targets a score says whether an artifact decides as the teacher does."""

    def __init__(self, scorer: Scorer) -> None:
        super().__init__(scorer)
        self.against = "targets" if scorer.targets("val") else "teacher"

    @property
    def metric(self) -> Metric:
        """That of the task."""
        return self._task.metric

    def why_not(self, name: str) -> str | None:
        """It was not run, or nothing says what is right."""
        if self.outputs(name) is None:
            return f"{name} was not run on val"
        if self.against == "teacher" and self._decided(TEACHER, name) is None:
            return f"{self._scorer.no_targets}, and no decisions of the teacher are known"
        return None

    def outputs(self, name: str) -> Arrays | None:
        """The outputs of the signature."""
        return self._scorer.outputs(name)

    def scores(self, name: str) -> np.ndarray:
        """By the metric of the task, or whether both decide the same."""
        if self.against == "teacher":
            ours, theirs = self._decided(name, name), self._decided(TEACHER, name)
            assert ours is not None
            assert theirs is not None
            same = ours == theirs
            return same.reshape(len(same), -1).all(axis=1)  # type: ignore[no-any-return]
        found = self._scorer.scores(name)
        assert found is not None
        return found

    def scores_of_teacher(self, name: str) -> np.ndarray | None:
        """All are right where nothing else says what is."""
        if self.against == "teacher":
            return np.ones(len(self.scores(name)), bool)
        found = self._scorer.scores(TEACHER)
        return None if found is None else self._at({TEACHER: found}, name)[TEACHER]

    def features(self, name: str) -> dict[str, np.ndarray]:
        """Of the samples, as programs take them."""
        return self._at(self._features, name)

    def places(self, name: str) -> np.ndarray:
        """All, or those of its size."""
        places = self._scorer.places(name)
        return super().places(name) if places is None else places

    @cached_property
    def _features(self) -> dict[str, np.ndarray]:
        """Those of all samples, read a part at a time: images take much memory."""
        facts, samples = self.facts, stored.samples(self._scorer.run, "val")
        count = min(map(len, samples.values()), default=0)
        parts = [
            self._task.features({name: values[start : start + _AT_ONCE] for name, values in samples.items()}, facts)
            for start in range(0, count, _AT_ONCE)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}

    def _decided(self, rung: str, name: str) -> np.ndarray | None:
        """What a rung decides of the samples that an artifact took."""
        found = self._scorer.outputs(rung)
        decided = None if found is None else self._task.decide(found)
        return decided if decided is None or rung == name else self._at({rung: decided}, name)[rung]

    def _at(self, arrays: Arrays, name: str) -> dict[str, np.ndarray]:
        """The rows of arrays that an artifact took."""
        places = self._scorer.places(name)
        return {key: values if places is None else values[places] for key, values in arrays.items()}


class WrittenAnswers(Answers):
    """Whole answers of trials to prompts of val; `right` says which are right, see `Task.kept`."""

    def __init__(self, scorer: Scorer, right: str) -> None:
        super().__init__(scorer)
        self._right = right
        self._tried = cache(self._trial)

    @property
    def metric(self) -> Metric:
        """The share of answers that are right."""
        title = f"answers that are {self._right}"
        return Metric(self._right, title, described=f"The share of whole answers that trials found to be right: {self._right}.")

    def why_not(self, name: str) -> str | None:
        """It was not tried, or by a version that did not keep how sure it was."""
        if isinstance(found := self._tried(name), str):
            return found
        known = self._task.kept(found)
        if self._right not in known:
            raise UserError(f"found {self._right} as what says that an answer is right, expected --right with one of {', '.join(known)}")
        return None if self.outputs(name) else f"the trial of {name} does not say how sure the answers are; {_MORE}, which tries it again"

    def outputs(self, name: str) -> Arrays | None:
        """What its trial kept."""
        found = self._tried(name)
        return None if isinstance(found, str) else self._task.written_outputs(found) or None

    def scores(self, name: str) -> np.ndarray:
        """Whether each answer is right."""
        found = self._tried(name)
        assert not isinstance(found, str)
        return self._task.kept(found)[self._right]

    def scores_of_teacher(self, name: str) -> np.ndarray | None:
        """The same of the teacher's answers to these prompts, where it was tried."""
        found = self._tried(TEACHER)
        return None if isinstance(found, str) else self._task.kept(found).get(self._right)

    def features(self, name: str) -> dict[str, np.ndarray]:
        """Of prompts and answers, as its trial kept them."""
        outputs = self.outputs(name)
        return {} if outputs is None else self._task.features(outputs, self.facts)

    def _trial(self, name: str) -> Trial | str:
        """The trial of a rung or artifact, or why there is none."""
        step, run = stored.trial(name), self._scorer.run
        if (figures := run.result(step)) is None:
            return f"{name} was not tried on whole {self._task.words.samples}"
        if why := figures.get("error") or figures.get("unavailable"):
            return str(why)
        run.check(step)
        return Trial(figures, run.work(step))
