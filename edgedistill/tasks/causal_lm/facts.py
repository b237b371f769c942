"""What is known of the prompts and completions of a run. Free of torch."""

from __future__ import annotations

from pydantic import Field

from edgedistill.tasks.text.task import TokenFacts


class LanguageFacts(TokenFacts):
    """What is known of the tokens of a run."""

    end: int = Field(description="The token that ends an answer.")
    tokenizer: str = Field(description="Changes with the vocabulary.")
    counted: int = Field(description="Tokens of answers in val, which scores are means over.")

    def described(self) -> list[str]:
        """Tokens, and how many of them are judged."""
        return [*super().described(), f"{self.counted:,} tokens of answers in val"]
