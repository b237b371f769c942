"""What `edgedistill generate` prints."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgedistill.records.base import Record, Unavailable


class GeneratedText(Record):
    """An answer that a file of a language model wrote."""

    source: str = Field(description="The run, bundle or file that was named.")
    artifact: str = Field(description="The file that answered.")
    executed_by: str
    runtime: dict[str, str] = Field(description="Versions of what executed it.")
    prompt_tokens: int = Field(description="Tokens of the prompt, those of the chat template included.")
    text: str
    tokens: list[int] = Field(description="Tokens of the answer, with the one that ends it.")
    logprobs: list[float] = Field(
        description="Natural logarithm of the probability that the model gave to each token, without schema and temperature."
    )
    finish: Literal["stop", "length"] = Field(description="Whether the model ended the answer, or the limit or the end of the context.")
    constrained: bool = Field(description="Whether the answer had to fit a JSON Schema.")
    time_to_first_token_ms: float = Field(description="Of the first call after the file was loaded.")
    tokens_per_s: float | Unavailable = Field(description="Of the tokens behind the first one.")
