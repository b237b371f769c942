"""The pairs of answers that a shadow phase drew for people: those on which student and teacher disagree."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgedistill import tasks
from edgedistill.errors import UserError
from edgedistill.files import reading
from edgedistill.gate.review.pairs import STUDENT, TEACHER, Contest, Pair
from edgedistill.gate.review.rubric import ANSWERS, DECISIONS
from edgedistill.gate.shadow.tally import NO_ANSWER, PEOPLE, VERDICTS


class SampledAnswers:
    """The answers of the folder of a shadow phase, and its requests as people see them.

    Each disagreement has the same chance to be in a sample, so that these are a fair part of all.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        first, *verdicts = _rows(folder / VERDICTS)
        if (name := first["of"].get("task")) is None:
            raise UserError(f"{folder} is of an older version, which did not say its task; replay the traces into another folder by --out")
        self._task = tasks.task(name)
        answered = [row["agrees"] for row in verdicts if "agrees" in row and row["why"] != NO_ANSWER]
        self._answers, self._disagreements = len(answered), answered.count(False)
        sampled = {row["id"]: row for row in _rows(folder / PEOPLE) if row["why"] is not None}
        self._rows = [sampled[identity] for identity in sorted(sampled)]

    def contest(self, reference: str | None, candidate: str | None) -> Contest:
        """The student against the teacher. Raises UserError for other names."""
        for option, asked, known in (("--reference", reference, TEACHER), ("--candidate", candidate, STUDENT)):
            if asked not in (None, known):
                raise UserError(f"{option}: found {asked}, expected {known}: a shadow phase compares the student with the teacher")
        both = {place: (row["answers"]["teacher"], row["answers"]["student"]) for place, row in enumerate(self._rows)}
        rubric = ANSWERS if self._task.writes else DECISIONS
        return Contest(str(self._folder), TEACHER, STUDENT, rubric, both, (self._answers, self._disagreements))

    def pair(self, contest: Contest, sample: int) -> Pair:
        """The pair of answers to a sample, by its place in the order of identities."""
        shown = self._task.asked(self._rows[sample]["prompt"])
        return Pair(sample, shown.text, shown.image, *contest.answers[sample])


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        raise UserError(f"found no file {path}, expected the folder of `edgedistill shadow` with samples for people (--people)")
    with reading(path):
        # A line that is being written has no end yet.
        yield from (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n"))
