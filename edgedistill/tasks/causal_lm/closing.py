"""Ends JSON before the tokens run out: a token is written only where the JSON can still be closed behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from edgedistill.tasks.causal_lm.generation import Choose

_TRIES = 16
"""Likely tokens that are tried before the way to the end is taken."""
_LONGEST = 512
"""Tokens of a way to the end; a longer one counts as none."""
_VALUES = ("0", '""', "null", "true", "{}", "[]", '"', "{", "[")
"""Values of JSON, and how longer ones begin, the shortest first."""


@dataclass
class _Open:
    """What is open at the end of JSON: a string, and arrays and objects by what closes them, the outermost first."""

    text: bool = False
    escaped: bool = False
    closers: list[int] = field(default_factory=list)

    def read(self, content: bytes) -> None:
        for byte in content:
            if self.text:
                self.text = self.escaped or byte != ord('"')
                self.escaped = not self.escaped and byte == ord("\\")
            elif byte == ord('"'):
                self.text = True
            elif byte in b"{[":
                self.closers.append(byte + 2)
            elif byte in b"}]" and self.closers:
                self.closers.pop()

    def copy(self) -> _Open:
        return _Open(self.text, self.escaped, [*self.closers])

    def close(self) -> bytes:
        """What closes everything."""
        return (b'"' if self.text else b"") + bytes(reversed(self.closers))


class Closing:
    """Chooses tokens of JSON as `choose` does, of those behind which the JSON can be closed within `room` tokens, stop token included.

    matcher, tokens: llguidance's, of one text. stop: the token that ends a text. The ways to the end that are looked for are short, but
    not always the shortest ones; a text that has none within the room from the start is written without heed to it.
    """

    def __init__(self, matcher: Any, tokens: Any, mask: Any, *, choose: Choose, stop: int, room: int) -> None:
        self._matcher, self._tokens, self._mask, self._choose, self._stop, self._room = matcher, tokens, mask, choose, stop, room
        self._open, self._written = _Open(), list[int]()

    def __call__(self, logprobs: np.ndarray) -> int:
        """The next token, by log-probabilities, float64 [V]."""
        left = self._room - len(self._written) - 1
        scores = np.where(self._mask(self._written), logprobs, -np.inf)
        first = token = self._choose(scores)
        for _ in range(_TRIES):
            if self._ends_behind(token, left):
                break
            scores[token] = -np.inf
            if not np.isfinite(scores).any():
                token = self._way_out(first)
                break
            token = self._choose(scores)
        else:
            token = self._way_out(first)
        self._written.append(token)
        self._open.read(self._bytes([token]))
        return token

    def shortest(self) -> int | None:
        """Tokens of a way to the end from the start, with the stop token; None where none is found."""
        way = _way(self._matcher.deep_copy(), self._tokens, _Open(), self._stop)
        return None if way is None else len(way)

    def _ends_behind(self, token: int, left: int) -> bool:
        if token == self._stop:
            return True
        matcher, open_ = self._matcher.deep_copy(), self._open.copy()
        matcher.consume_token(token)
        open_.read(self._bytes([token]))
        way = _way(matcher, self._tokens, open_, self._stop)
        return way is not None and len(way) <= left

    def _way_out(self, otherwise: int) -> int:
        way = _way(self._matcher.deep_copy(), self._tokens, self._open.copy(), self._stop)
        return otherwise if way is None else way[0]

    def _bytes(self, tokens: Sequence[int]) -> bytes:
        return bytes(self._tokens.decode_bytes(list(tokens)))


def _way(matcher: Any, tokens: Any, open_: _Open, stop: int) -> list[int] | None:
    """Tokens by which JSON ends from where `matcher` is, with the stop token; None where no way is found. It moves the matcher."""
    way: list[int] = []
    while len(way) < _LONGEST:
        if matcher.is_accepting():
            return [*way, stop]
        step = _closer(matcher, tokens, open_) or matcher.compute_ff_tokens() or _value(matcher, tokens) or _any(matcher, tokens)
        if not step or not matcher.consume_tokens(step):
            return None
        way += step
        open_.read(bytes(tokens.decode_bytes(step)))
    return None


def _closer(matcher: Any, tokens: Any, open_: _Open) -> list[int]:
    """What of the closing text can follow."""
    made = tokens.tokenize_bytes(open_.close())
    if fits := matcher.validate_tokens(made):
        return list(made[:fits])
    # The first sign alone, where a token holds more than can follow.
    made = tokens.tokenize_bytes(open_.close()[:1])
    return list(made[: matcher.validate_tokens(made)])


def _value(matcher: Any, tokens: Any) -> list[int]:
    for text in _VALUES:
        made = tokens.tokenize_str(text)
        if matcher.validate_tokens(made) == len(made):
            return list(made)
    return []


def _any(matcher: Any, tokens: Any) -> list[int]:
    """Any token that may follow, such as a sign of a text that has a least length."""
    allowed = np.unpackbits(np.frombuffer(matcher.compute_bitmask(), np.uint8), bitorder="little").nonzero()[0]
    return [int(allowed[0])] if len(allowed) else []
