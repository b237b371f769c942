"""Whether a student's answer agrees with the teacher's: in format, in policy and in meaning."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgedistill.tasks.causal_lm.answered import Judge
from edgedistill.tasks.shadowed import Similarity


@dataclass(frozen=True)
class Agreement:
    """What a comparison of two answers found.

    why: the first of format, policy and meaning in which they differ; None where they agree. similarity: None for JSON and equal texts.
    teacher_breaks, student_breaks: which rules of format and policy each answer breaks.
    """

    why: str | None
    similarity: float | None
    teacher_breaks: list[str]
    student_breaks: list[str]

    @property
    def agrees(self) -> bool:
        """Whether they differ in nothing."""
        return self.why is None


class Compare:
    """Compares answers.

    schema: a JSON Schema that answers have to fit; without one, an answer has to be JSON where the teacher's is an object or an array.
    policy: regular expressions that no answer may match. similarity: compares texts, which agree from `least` on; without it, they agree
    where only case and spaces differ. JSON agrees where it is the same value.
    """

    def __init__(self, schema: Any = None, policy: Sequence[str] = (), similarity: Similarity | None = None, least: float = 0.0) -> None:
        self._schema, self._similarity, self._least = schema, similarity, least
        self._text, self._json = Judge("text", policy=policy), Judge("json", schema, policy)

    def __call__(self, teacher: str, student: str) -> Agreement:
        """What the comparison of the student's answer with the teacher's finds. An answer may break what the teacher's breaks too."""
        judge = self._json if self._schema is not None or _holds_json(teacher) else self._text
        theirs, ours = ([name for name, ok in _rules(judge, answer) if not ok] for answer in (teacher, student))
        if broken := [name for name in ours if name not in theirs]:
            return Agreement(broken[0], None, theirs, ours)
        if judge is self._json and "format" not in theirs:
            same, similarity = judge(student, teacher).exact, None
        else:
            same, similarity = self._alike(teacher, student)
        return Agreement(None if same else "meaning", similarity, theirs, ours)

    def _alike(self, teacher: str, student: str) -> tuple[bool, float | None]:
        if _normal(teacher) == _normal(student):
            return True, None
        if self._similarity is None:
            return False, None
        similarity = self._similarity(teacher, student)
        return similarity >= self._least, similarity


def _rules(judge: Judge, answer: str) -> list[tuple[str, bool]]:
    return [("format", judge.valid(answer)), ("policy", judge.allows(answer))]


def _holds_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), (dict, list))
    except (ValueError, RecursionError):
        return False


def _normal(text: str) -> str:
    return " ".join(text.casefold().split())
