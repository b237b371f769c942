"""The log-probabilities that a service told of the tokens of its answers, as the loss `top_logprobs` compares them.

A service names tokens by their bytes or texts. Its tokens count where they are those of the student: from the first one of an answer to the
first that is another, since behind it the service read other tokens than the student does.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgedistill.errors import UserError
from edgedistill.rows import writing

FILE = "told.npy"
"""float32 [n, W, 2, K]: of each of the last n rows, at each wanted place, K tokens and their log-probabilities; NaN for a place of which
nothing is told, and the token -1 where it is told of fewer than K tokens."""
TARGET = "top_logprobs"
"""The name of the same as a target, [B, W, 2, K]."""
NO_TOKEN = -1
UNLIKELY = -1e4
"""The log-probability of `NO_TOKEN`."""
Entry = Mapping[str, Any]
"""A token as the API of OpenAI tells it: `token`, `logprob`, perhaps `bytes`, and `top_logprobs`, a list of the same for alternatives."""


class Tokens:
    """The tokens of a tokenizer by their bytes.

    tokenizer: the content of `tokenizer.json`. size: of its vocabulary. end: the token that ends an answer.
    """

    def __init__(self, tokenizer: str, size: int, end: int) -> None:
        try:
            from llguidance import LLTokenizer
        except ImportError as error:
            raise UserError("the loss top_logprobs needs llguidance: pip install edgedistill[llm]") from error
        read = LLTokenizer(tokenizer, n_vocab=size, eos_token=[end])
        self.bytes = [read.decode_bytes([token]) for token in range(size)]
        # A tokenizer may have a token for a byte and one for a letter that is this byte: the later one is the letter.
        self._numbers = {content: token for token, content in enumerate(self.bytes) if content}

    def number(self, entry: Entry) -> int | None:
        """The token that an entry names; None where there is none."""
        return self._numbers.get(_bytes(entry))

    def is_of(self, entry: Entry, token: int) -> bool:
        """Whether an entry names `token`. A text cannot tell parts of a character: they are taken for what they should be."""
        found = _bytes(entry)
        return found == self.bytes[token] or "\N{REPLACEMENT CHARACTER}" in found.decode("utf-8", "replace")


def _bytes(entry: Entry) -> bytes:
    told = entry.get("bytes")
    return bytes(told) if isinstance(told, list) else str(entry.get("token", "")).encode("utf-8", "surrogatepass")


@dataclass(frozen=True)
class Told:
    """How much a service told."""

    share: float
    """Of the tokens of the answers."""
    other: tuple[str, str] | None
    """The first token that is another one: the service's, and the student's."""


def write(
    told: Sequence[Sequence[Entry] | None], answers: Iterable[np.ndarray], places: int, alternatives: int, tokens: Tokens, folder: Path
) -> Told:
    """Write `FILE` into `folder`.

    told: the entries of each answer, None where there are none. answers: the student's tokens of each, int [n]. places: W. alternatives:
    most of a token.
    """
    aligned = total = 0
    other: tuple[str, str] | None = None
    with writing(folder / FILE, np.float32, (len(told), places, 2, alternatives + 1)) as write_rows:
        for said, answer in zip(told, answers, strict=True):
            entries = said or []
            same = list(itertools.takewhile(lambda pair: tokens.is_of(*pair), zip(entries, answer.tolist(), strict=False)))
            row = np.full((1, places, 2, alternatives + 1), np.nan, np.float32)
            for place, (entry, token) in enumerate(same):
                row[0, place] = _row(entry, token, tokens, alternatives)
            write_rows(row)
            # The student's last token ends the answer. Few services tell of it.
            last = max(1, len(answer) - 1)
            aligned, total = aligned + min(len(same), last), total + last
            if other is None and len(same) < min(len(entries), last):
                other = str(entries[len(same)].get("token")), tokens.bytes[int(answer[len(same)])].decode("utf-8", "replace")
    return Told(aligned / max(1, total), other)


def _row(entry: Entry, token: int, tokens: Tokens, alternatives: int) -> np.ndarray:
    """The tokens of an entry and their log-probabilities, float32 [2, K]."""
    likely = {token: entry.get("logprob")}
    for other in entry.get("top_logprobs") or []:
        # A token that the student lacks stays in the mass that is left.
        if (number := tokens.number(other)) is not None:
            likely.setdefault(number, other.get("logprob"))
    known = [(number, max(float(value), UNLIKELY)) for number, value in likely.items() if value is not None][: alternatives + 1]
    if not known:
        return np.full((2, alternatives + 1), np.nan, np.float32)
    known += [(NO_TOKEN, UNLIKELY)] * (alternatives + 1 - len(known))
    return np.array(known, np.float32).T
