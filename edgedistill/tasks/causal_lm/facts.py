"""What is known of the prompts and completions of a run. Free of torch."""

from __future__ import annotations

from pydantic import Field

from edgedistill.errors import UserError
from edgedistill.tasks.text.task import TokenFacts

LEAST_TOLD = 0.5
"""Least share of the answers' tokens that a service has to tell of. One that tells of fewer has another tokenizer."""


class LanguageFacts(TokenFacts):
    """What is known of the tokens of a run."""

    end: int = Field(description="The token that ends an answer.")
    tokenizer: str = Field(description="Changes with the vocabulary.")
    told: float | None = Field(
        None, description="Share of the tokens of a service's answers whose log-probabilities it told; null where it was not asked."
    )
    told_other: tuple[str, str] | None = Field(
        None, description="The first token of the service that is not the student's, and the student's in its place."
    )
    counted: int = Field(description="Tokens of answers in val, which scores are means over.")

    def check_told(self) -> None:
        """Raise UserError where most tokens of the service that answered are not those of the student."""
        if self.told is not None and self.told < LEAST_TOLD:
            found = f", such as {self.told_other[0]!r} where the student has {self.told_other[1]!r}" if self.told_other else ""
            raise UserError(
                f"top_logprobs: found {self.told:.0%} of the answers' tokens among those that the endpoint told of{found}, expected the "
                "tokenizer of its model: name it as data.tokenizer, or leave the loss top_logprobs out"
            )

    def described(self) -> list[str]:
        """Tokens, and how many of them are judged."""
        told = [] if self.told is None else [f"the endpoint told log-probabilities of {self.told:.1%} of its answers' tokens"]
        return [*super().described(), f"{self.counted:,} tokens of answers in val", *told]
