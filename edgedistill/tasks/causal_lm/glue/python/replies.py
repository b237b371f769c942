"""Answers of a language model, how sure it is of them, and which of them the teacher has to give instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from .decision_table import DecisionTable


@dataclass(frozen=True)
class Reply:
    """An answer.

    finish: "stop" where the model ended it, "length" at the limit or where the context is full, "cancelled" where `on_text` ended it.
    logprobs: Natural logarithm of the probability that the model gave to each token, whatever the temperature is.
    features: How many tokens the prompt and the answer have.
    """

    text: str
    tokens: Sequence[int]
    finish: str
    time_to_first_token_s: float
    logprobs: Sequence[float] = ()
    features: Mapping[str, float] = field(default_factory=dict)


_MEASURES: Mapping[str, Callable[[Sequence[float]], float]] = {
    "mean": lambda logprobs: sum(logprobs) / len(logprobs), "least": min, "first": lambda logprobs: logprobs[0],
}  # fmt: skip


class Router(DecisionTable[Reply]):
    """The decision table of whole answers. Those that were cut off, or drawn at a temperature, are as sure as their tokens are."""

    names = tuple(_MEASURES)

    def _measure(self, answer: Reply, name: str) -> float:
        return float(np.exp(_MEASURES[name](answer.logprobs))) if answer.logprobs else 0.0

    def _made(self, outputs: Mapping[str, Sequence[float]], features: Mapping[str, float]) -> Reply:
        return Reply("", (), "stop", 0.0, outputs["logprobs"], features)
