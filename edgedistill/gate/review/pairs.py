"""The pairs of answers that people compare, from the answers of a run on val. The holdout is never read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from edgedistill.errors import UserError
from edgedistill.files import canonical_hash
from edgedistill.gate.review.rubric import ANSWERS, DECISIONS
from edgedistill.tasks.data import chosen
from edgedistill.verify import stored
from edgedistill.verify.scoring import Scorer

if TYPE_CHECKING:
    from edgedistill.recipe.schema import Recipe
    from edgedistill.run import Run

STUDENT, TEACHER = "student", "teacher"
_REFERENCES = (TEACHER, "control")
"""What a candidate is compared with, the first that has answers, where nothing is said."""


@dataclass(frozen=True)
class Pair:
    """Two answers to one sample."""

    sample: int
    prompt: str
    image: bytes | None
    """PNG; None where a prompt says everything."""
    reference: str
    candidate: str


@dataclass(frozen=True)
class Contest:
    """Who is compared with whom, and what they answered to the samples that both have answers to.

    of: how many answers there are, and how many of them differ, where `answers` are a part of them; None for all.
    """

    run: str
    reference: str
    candidate: str
    rubric: str
    answers: dict[int, tuple[str, str]]
    """The reference's and the candidate's answer, by the number of the sample."""
    of: tuple[int, int] | None = None

    @property
    def differing(self) -> list[int]:
        """The samples with two different answers; equal ones need no judge."""
        return [sample for sample, (ours, theirs) in self.answers.items() if ours != theirs]

    @property
    def sha256(self) -> str:
        """Changes with the names and the answers."""
        return canonical_hash([self.reference, self.candidate, self.rubric, sorted(self.answers.items())])

    @property
    def file(self) -> str:
        """The name of the file of a review of these answers."""
        return f"{self.candidate}-against-{self.reference}-{self.sha256[:8]}.db"


class Answers:
    """The answers of the rungs and files of a run, and its samples as people see them."""

    def __init__(self, run: Run, recipe: Recipe) -> None:
        self.run, self.recipe = run, recipe
        self._scorer = Scorer(run, recipe)
        self.task, self.data = self._scorer.task, self._scorer.data

    def contest(self, reference: str | None, candidate: str | None) -> Contest:
        """The answers of both. By default the student is compared with the teacher, or with the control where the teacher has none.

        Raises UserError, with the names that have answers, for a name that has none.
        """
        candidate = candidate or STUDENT
        theirs = self._of(candidate)
        names = [reference] if reference else [name for name in _REFERENCES if name != candidate]
        found = next(((name, answers) for name in names if (answers := self._of(name))), None)
        if not theirs or found is None:
            self._refuse(candidate if not theirs else " or ".join(names))
        reference, ours = found
        if reference == candidate:
            raise UserError(f"found {candidate} as candidate and as reference, expected two different names")
        both = {sample: (ours[sample], theirs[sample]) for sample in sorted(ours) if sample in theirs}
        rubric = ANSWERS if self.task.writes else DECISIONS
        return Contest(str(self.run.shown), reference, candidate, rubric, both)

    def pair(self, contest: Contest, sample: int) -> Pair:
        """The pair of answers to a sample, with what a person needs to judge them."""
        shown = self.task.shown(self.recipe, self.data, self.run.work("data"), sample)
        return Pair(sample, shown.text, shown.image, *contest.answers[sample])

    def _of(self, name: str) -> dict[int, str]:
        """The answers of a rung or file to samples of val; none where it was not run."""
        step = stored.trial(name)
        if self.task.writes:
            tried = self.run.result(step) or {"unavailable": "not tried"}
            if tried.get("error") or tried.get("unavailable"):
                return {}
            self.run.check(step)
            return self.task.written(self.data, chosen(self.data, "val", self.task.tried(self.recipe)), self.run.work(step))
        if (outputs := self._scorer.outputs(name)) is None:
            return {}
        val, places = self.data.indices["val"], self._scorer.places(name)
        decided = self.task.decide(outputs)
        if decided is None:
            return {}
        names = self.task.decision_names(self.recipe, self.data.facts)
        words = [names[number] if names else str(number) for number in decided.tolist()]
        return dict(zip((val if places is None else val[places]).tolist(), words, strict=True))

    def _refuse(self, name: str) -> NoReturn:
        known = [*_REFERENCES, STUDENT, *(artifact.name for artifact in self.run.artifacts())]
        found = ", ".join(each for each in known if self._of(each)) or "none, since its task has no answers that people can compare"
        raise UserError(f"found no answers of {name} in {self.run.shown}, expected one of: {found}")
