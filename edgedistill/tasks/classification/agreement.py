"""Whether a student decides as its teacher did, and how far its probabilities are from the teacher's."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import JsonValue

from edgedistill.tasks.shadowed import compared

DECISION, UNKNOWN = "decision", "unknown decision"
"""Both decide differently; the teacher decided what the student can't."""
_ROUNDED = 1e-3
"""How far probabilities that a teacher wrote may be from 1 together."""


def answer_of(row: Mapping[str, Any]) -> JsonValue:
    """The teacher's answer of a line of traces: `label`, a name, or `scores`, probabilities by name. Raises ValueError for neither."""
    label, scores = row.get("label"), row.get("scores")
    if scores is not None:
        numbers: list[Any] = [*scores.values()] if isinstance(scores, dict) else [None]
        if not numbers or not all(isinstance(each, (int, float)) and not isinstance(each, bool) and 0 <= each <= 1 for each in numbers):
            raise ValueError("scores: expected an object with a probability for each name")
        if sum(numbers) > 1 + _ROUNDED:
            raise ValueError(f"scores: found probabilities that add up to {sum(numbers):.3f}, expected 1 at most")
        label = max(scores, key=scores.get) if label is None else label
    if not isinstance(label, str):
        raise ValueError(f"found {', '.join(map(str, row)) or 'nothing'}, expected label, a string, or scores, an object")
    return {"label": label, "scores": scores}


def comparing(labels: Sequence[str], output: str) -> Callable[[Mapping[str, np.ndarray], Any], dict[str, Any]]:
    """Compares the output of this name, a score for each of `labels`, with a teacher's answer."""

    def compare(outputs: Mapping[str, np.ndarray], answer: Any) -> dict[str, Any]:
        scores = outputs[output].reshape(-1).astype(np.float64)
        largest = scores.max()
        logs = scores - largest - math.log(np.exp(scores - largest).sum())
        student, teacher = labels[int(logs.argmax())], answer["label"]
        why = None if student == teacher else DECISION if teacher in labels else UNKNOWN
        far = None if answer["scores"] is None else divergence(answer["scores"], dict(zip(labels, logs.tolist(), strict=True)))
        return compared(why, teacher=teacher, student=student, divergence=far)

    return compare


def divergence(scores: Mapping[str, float], logs: Mapping[str, float]) -> float | None:
    """KL(teacher || student) in nats, of the teacher's probabilities and the logarithms of the student's.

    What a teacher does not name counts as one rest, so that it is a lower bound where only its largest probabilities are known. None where
    this rest is more than rounding, and the student has nothing beside the names.
    """
    named = {name: p for name, p in scores.items() if name in logs}
    rest, left = 1 - sum(named.values()), [value for name, value in logs.items() if name not in named]
    total = sum(p * (math.log(p) - logs[name]) for name, p in named.items() if p > 0)
    if rest <= _ROUNDED:
        return total
    return total + rest * (math.log(rest) - float(np.logaddexp.reduce(left))) if left else None
