"""What the self-test of a language model found: tokens of golden prompts, beside the numbers of golden inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .self_test import SelfTest


@dataclass(frozen=True)
class GoldenAnswer:
    """How many tokens from the first on are those of the model in float32, of how many; `number` is that of the golden prompt."""

    number: int
    same: int
    of: int


@dataclass(frozen=True)
class LanguageSelfTest(SelfTest):
    """The result of a self-test. exact: whether answers have to be equal; those of files with fewer bits may differ, and are told."""

    answers: Sequence[GoldenAnswer] = ()
    exact: bool = False

    @property
    def ok(self) -> bool:
        """Whether everything is within its tolerance."""
        return super().ok and not (self.exact and any(one.same < one.of for one in self.answers))

    @property
    def agreement(self) -> float | None:
        """The share of the tokens of golden answers that are written up to the first other one; None without golden answers."""
        return sum(one.same for one in self.answers) / sum(one.of for one in self.answers) if self.answers else None

    def describe(self) -> str:
        """The result in words, a line for each part."""
        lines = [super().describe()]
        for one in self.answers:
            verdict = "ok" if one.same == one.of else "FAILED" if self.exact else "the model has fewer bits"
            lines.append(f"  answer {one.number}: {one.same} of {one.of} tokens are those of the model in float32: {verdict}")
        return "\n".join(lines)
