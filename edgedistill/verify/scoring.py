"""What a task says of the outputs of a run: scores of rungs and artifacts, their intervals, and differences between two of them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import NamedTuple

import numpy as np

from edgedistill import tasks
from edgedistill.errors import UserError
from edgedistill.files import reading
from edgedistill.recipe.schema import Recipe
from edgedistill.records import ArtifactSpec, Execution, OutputError, Score, Scores, Unavailable
from edgedistill.records.summary import Verdict
from edgedistill.run import Run
from edgedistill.tasks.base import Arrays, Task
from edgedistill.tasks.data import SET, Dataset
from edgedistill.tasks.intervals import Gaps
from edgedistill.verify import helped, judge, outputs, stored

_ALL = slice(None)


class Difference(NamedTuple):
    """How the outputs of two rungs or artifacts on val differ: flips of `n` decisions, and the score of a less that of b."""

    flips: int | Unavailable | None
    n: int
    difference: float | Unavailable
    interval: tuple[float, float] | Unavailable


class Scorer:
    """Scores the rungs and artifacts of a run by the metric of its task. Outputs and scores are read once."""

    def __init__(self, run: Run, recipe: Recipe) -> None:
        self.run, self.recipe = run, recipe
        self.task: Task = tasks.task(recipe.task)
        self._outputs: dict[tuple[str, str], Arrays | None] = {}
        self._places: dict[tuple[str, str], np.ndarray | None] = {}
        self._scores: dict[tuple[str, str], np.ndarray | None] = {}

    @cached_property
    def data(self) -> Dataset:
        """The samples of the run. Raises DamagedFile where they can't be read."""
        self.run.check("data")
        with reading(self.run.work("data")):
            return self.task.dataset(self.recipe, self.run.work("data"))

    def targets(self, split: str) -> Arrays:
        """What the outputs of a split are scored against, [N, ...] by name; empty without any."""
        if targets := self.data.targets(self.data.indices[split]):
            return targets
        # A student that is taught without targets is scored against its teacher.
        taught = self.run.result("teaching") is not None and self.task.scores_against_teacher
        return (stored.outputs(self.run, "teacher", split) or {}) if taught else {}

    def outputs(self, name: str, split: str = "val") -> Arrays | None:
        """What a rung or artifact gave for the samples with its `places`, [n, ...] by the name of the output; None where it was not run."""
        if (name, split) not in self._outputs:
            self._outputs[name, split] = stored.outputs(self.run, name, split)
            self._places[name, split] = stored.places(self.run, name, split)
        return self._outputs[name, split]

    def places(self, name: str, split: str = "val") -> np.ndarray | None:
        """Places in the split of the samples that an artifact takes, int [n]; None for all."""
        self.outputs(name, split)
        return self._places[name, split]

    def scores(self, name: str, split: str = "val") -> np.ndarray | None:
        """The score of each sample, [n]; None where the rung or artifact was not run, or the data has no targets."""
        if (name, split) not in self._scores:
            given, targets = self.outputs(name, split), self.targets(split)
            targets = _at(targets, self.places(name, split))
            self._scores[name, split] = None if given is None or not targets else self.task.score(given, targets)
        return self._scores[name, split]

    def _both(self, a: str, b: str) -> tuple[slice | np.ndarray, slice | np.ndarray]:
        """Where the outputs of `a` and of `b` on val are those of the samples that both took."""
        ours, theirs = self.places(a), self.places(b)
        if ours is None or theirs is None:
            return (_ALL if theirs is None else theirs), (_ALL if ours is None else ours)
        _, first, second = np.intersect1d(ours, theirs, return_indices=True)
        return first, second

    def score(self, name: str) -> Scores:
        """The score of a rung or artifact on val and on the holdout, each with its 95% interval, or why there is none."""
        return Scores(**{split: self.score_on(name, split) for split in ("val", "holdout")})

    def score_on(self, name: str, split: str) -> Score | Unavailable:
        """The same on one split."""
        if self.outputs(name, split) is None:
            ran = Execution.model_validate(self.run.result(f"{split}-{name}") or {})
            none = split == "holdout" and not len(self.data.indices["holdout"])
            why = "the data has no holdout" if none else f"{name} was not scored on {split}"
            return Unavailable(unavailable=ran.error or ran.unavailable or why)
        scores = self.scores(name, split)
        return Unavailable(unavailable=self.no_targets) if scores is None else score_of(self.task, scores)

    def by_set(self, name: str) -> dict[str, Scores]:
        """The score of a rung or artifact on the samples of each set alone, by its name; empty where the data have one set."""
        sets = self.data.fields.get(SET)
        names = [] if sets is None else [member.name for member in self.recipe.data.members]
        return {one: Scores(**{split: self._of_set(name, split, one) for split in ("val", "holdout")}) for one in names}

    def _of_set(self, name: str, split: str, of: str) -> Score | Unavailable:
        if isinstance(whole := self.score_on(name, split), Unavailable):
            return whole
        scores, places = self.scores(name, split), self.places(name, split)
        assert scores is not None
        indices = self.data.indices[split]
        chosen = self.data.fields[SET][indices if places is None else indices[places]] == of
        if not chosen.any():
            return Unavailable(unavailable=f"the set {of} has no {self.task.words.samples} in {split}")
        return score_of(self.task, scores[chosen])

    @property
    def no_targets(self) -> str:
        """Why nothing is scored where the data has no targets."""
        return f"the {self.task.words.samples} have no {self.task.words.targets}"

    def further(self, name: str, split: str = "val") -> dict[str, float]:
        """Further scores of a rung or artifact, by name; none where it was not run, or the data has no targets."""
        given, targets = self.outputs(name, split), _at(self.targets(split), self.places(name, split))
        return {} if given is None or not targets else self.task.further(given, targets)

    def gaps(self, name: str, split: str = "val") -> Gaps | None:
        """What the calibration error of a rung or artifact is made of; None where it has none, was not run, or the data has no targets."""
        given, targets = self.outputs(name, split), _at(self.targets(split), self.places(name, split))
        return None if given is None or not targets else self.task.gaps(given, targets)

    def difference(self, a: str, b: str) -> Difference:
        """Flips and the difference of the scores of `a` and `b` on val, with its 95% interval."""
        ours, theirs = self.outputs(a), self.outputs(b)
        mine, yours = self._both(a, b)
        ours, theirs = (None if each is None else _at(each, places) for each, places in ((ours, mine), (theirs, yours)))
        if ours is None or theirs is None or _shapes(ours) != _shapes(theirs):
            none = Unavailable(unavailable="not both were run on val")
            return Difference(none, 0, none, none)
        flips, n = judge.flips(ours, theirs, self.task.decide), len(next(iter(ours.values())))
        first, second = self.scores(a), self.scores(b)
        if first is None or second is None:
            none = Unavailable(unavailable=self.no_targets)
            return Difference(flips, n, none, none)
        difference, low, high = self.task.paired(first[mine], second[yours])
        return Difference(flips, n, difference, (low, high))

    def errors(self, spec: ArtifactSpec) -> dict[str, OutputError] | Unavailable:
        """Each output of an artifact on val against that of the model in floating point that it was made of."""
        given, expected = self.outputs(spec.name), self.outputs(spec.role)
        if given is None or expected is None:
            return Unavailable(unavailable="not both were run on val")
        places = self.places(spec.name)
        try:
            errors = outputs.compare(given, _at(expected, places))
        except UserError as error:
            return Unavailable(unavailable=str(error))
        val = self.data.indices["val"]
        val = val if places is None else val[places]
        numbers = {name: None if error.worst is None else int(val[error.worst]) for name, error in errors.items()}
        return {name: error.model_copy(update={"worst": numbers[name]}) for name, error in errors.items()}

    def judged(self, spec: ArtifactSpec) -> judge.Judgement:
        """Who executed an artifact, whether it keeps its rule on val, and the comparison with its reference."""
        ran = self.run.result(f"val-{spec.name}")
        execution = None if ran is None else Execution.model_validate(ran)
        given, expected = self.outputs(spec.name), self.outputs(judge.reference(spec))
        unrounded = None if (rung := judge.unrounded(spec)) is None else self.outputs(rung)
        if (places := self.places(spec.name)) is not None:
            expected, unrounded = (None if each is None else _at(each, places) for each in (expected, unrounded))
        return judge.judged(spec, execution, given, expected, stored.scales(self.run, spec), self.task.decide, unrounded)

    def verdict(self) -> Verdict:
        """Whether the teacher helped: the student against the control, with the 95% interval of the difference."""
        if self.run.result("teaching") is None:
            text = "No verdict: nothing was distilled; the model was quantized after its training."
            return Verdict(outcome="unavailable", text=text)
        student, control = self.scores("student"), self.scores("control")
        if student is None or control is None:
            # Where only the teacher says what is right, no control can be trained.
            advice = "" if self.task.scores_against_teacher else " (distill.control: true)"
            text = f"No verdict: the recipe trains no control, so nothing tells what the teacher added{advice}."
            return Verdict(outcome="unavailable", text=text)
        return helped.verdict(self.task, student, control)


def has_holdout(task: Task, data: Dataset) -> bool:
    """Whether the data has a holdout that can be scored."""
    holdout = data.indices["holdout"]
    return bool(len(holdout) and (data.targets(holdout) or task.scores_against_teacher))


def score_of(task: Task, scores: np.ndarray) -> Score:
    """The mean of scores [n] with its 95% interval, and how many are right where a sample is right or wrong."""
    right = int(scores.sum()) if scores.dtype == bool else None
    return Score(value=float(scores.mean()), correct=right, n=len(scores), interval=task.interval(scores))


def _at(arrays: Arrays, places: slice | np.ndarray | None) -> Arrays:
    """The rows of `arrays` [N, ...] at `places`; all of them for None."""
    return arrays if places is None else {name: values[places] for name, values in arrays.items()}


def _shapes(arrays: Mapping[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    return {name: values.shape for name, values in arrays.items()}
