"""What is right about answers: texts, JSON that fits a schema, and tool calls."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from edgedistill.tasks.intervals import wilson

Format = Literal["text", "json", "tool-call"]


@dataclass(frozen=True)
class Verdict:
    """What is right about one answer; None for what its format does not ask."""

    exact: bool
    """The same text as the data's, or the same JSON value."""
    valid: bool | None = None
    """JSON that fits the schema."""
    tool: bool | None = None
    """The tool of the data's call."""
    arguments: bool | None = None
    """That tool with the same arguments."""
    policy: bool | None = None
    """Nothing in it is forbidden."""


class Judge:
    """Judges answers of a format. schema: what JSON has to fit; None for any. policy: regular expressions of what is forbidden."""

    def __init__(self, format_: Format, schema: Any = None, policy: Sequence[str] = ()) -> None:
        self.format = format_
        self._forbidden = [re.compile(pattern) for pattern in policy]
        self._validator: Any = None
        if schema is not None:
            from jsonschema.validators import validator_for

            self._validator = validator_for(schema)(schema)

    def __call__(self, answer: str, expected: str) -> Verdict:
        """What is right about `answer`, where the data's is `expected`."""
        allowed = self.allows(answer) if self._forbidden else None
        if self.format == "text":
            return Verdict(answer.strip() == expected.strip(), policy=allowed)
        found, wanted = _value(answer), _value(expected)
        exact = found is not _NONE and _same(found, wanted)
        valid = self._fits(found)
        if self.format == "json":
            return Verdict(exact, valid, policy=allowed)
        tool = isinstance(found, dict) and isinstance(wanted, dict) and found.get("name") == wanted.get("name")
        arguments = tool and _same(found.get("arguments"), wanted.get("arguments"))
        return Verdict(exact, valid, tool, arguments, allowed)

    def valid(self, answer: str) -> bool:
        """Whether an answer is of the format and fits the schema; texts always do."""
        return self.format == "text" or self._fits(_value(answer))

    def allows(self, answer: str) -> bool:
        """Whether nothing in an answer is forbidden."""
        return not any(pattern.search(answer) for pattern in self._forbidden)

    def _fits(self, value: Any) -> bool:
        return value is not _NONE and (self._validator is None or bool(self._validator.is_valid(value)))


def called(answer: str) -> str:
    """The name of the tool that an answer calls; empty where it calls none."""
    value = _value(answer)
    return str(value.get("name", "")) if isinstance(value, dict) else ""


_NONE = object()


def _value(text: str) -> Any:
    """The JSON value that a text is; `_NONE` where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _NONE


def _same(a: Any, b: Any) -> bool:
    """Whether two JSON values are equal; 1 and true are not."""
    return json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)


def share(values: Sequence[bool]) -> dict[str, Any]:
    """How many of `values` are true, of how many, and the 95% interval of their share."""
    right, count = sum(values), len(values)
    return {"right": right, "n": count, "interval": wilson(right, count)}


def rouge(answers: Sequence[str], expected: Sequence[str]) -> dict[str, float]:
    """Means of ROUGE-1, ROUGE-2 and ROUGE-L, each the F1 of common words, pairs of words, and the longest common sequence (Lin 2004)."""
    from rouge_score.rouge_scorer import RougeScorer

    names = ("rouge1", "rouge2", "rougeL")
    scorer = RougeScorer(names, use_stemmer=False)
    found = [scorer.score(right, answer) for answer, right in zip(answers, expected, strict=True)]
    return {name: sum(scores[name].fmeasure for scores in found) / max(1, len(found)) for name in names}


def mcnemar(before: Sequence[bool], after: Sequence[bool]) -> float:
    """The two-sided p-value that `before` and `after`, verdicts on the same answers, are right as often.

    McNemar 1947 (Psychometrika 12), exact: of the pairs that differ, the count of one kind is binomial with p = 1/2.
    """
    from scipy.stats import binomtest

    lost = sum(a and not b for a, b in zip(before, after, strict=True))
    won = sum(b and not a for a, b in zip(before, after, strict=True))
    return float(binomtest(lost, lost + won).pvalue) if lost + won else 1.0
