"""Masks by which a decoder writes JSON that fits a schema, whatever its weights are; by llguidance (extra `llm`)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgedistill.errors import UserError
from edgedistill.tasks.causal_lm.closing import Closing

if TYPE_CHECKING:
    from edgedistill.tasks.causal_lm.generation import Choose, Mask


class Grammar:
    """JSON by a schema, without white space between its parts, in tokens of a tokenizer. Making one takes a second for a large tokenizer.

    schema: a JSON Schema. tokenizer: the content of `tokenizer.json`. vocabulary: logits of a token, of which those that the tokenizer has
    not are never allowed. stop: the tokens that end a text, allowed where the JSON is complete.
    Raises UserError for a schema that cannot be followed.
    """

    def __init__(self, schema: Mapping[str, Any], tokenizer: str, *, vocabulary: int, stop: Collection[int]) -> None:
        try:
            from llguidance import LLMatcher, LLTokenizer
        except ImportError as error:
            raise UserError("constrained decoding needs llguidance: pip install edgedistill[llm]") from error
        self._vocabulary, self._stop = vocabulary, min(stop)
        self._tokens = LLTokenizer(tokenizer, n_vocab=vocabulary, eos_token=[*stop])
        # Otherwise a model may write blanks without end.
        self._grammar = LLMatcher.grammar_from_json_schema(dict(schema), overrides={"whitespace_flexible": False})
        if (wrong := LLMatcher.validate_grammar(self._grammar, self._tokens)) and not wrong.startswith("WARNING"):
            raise UserError(f"found a JSON Schema that cannot be followed while writing: {wrong}")

    def mask(self) -> Mask:
        """The mask of one text; see `generation.generate`."""
        from llguidance import LLMatcher

        return _Following(LLMatcher(self._tokens, self._grammar), self._vocabulary)

    def closing(self, choose: Choose, room: int) -> Closing:
        """Chooses the tokens of one text as `choose` does, so that the JSON is whole within `room` tokens, its stop token included.

        It is the `choose` of `generation.generate`, instead of a mask.
        """
        from llguidance import LLMatcher

        matcher = LLMatcher(self._tokens, self._grammar)
        mask = _Following(matcher, self._vocabulary)
        return Closing(matcher, self._tokens, mask, choose=choose, stop=self._stop, room=room)


class _Following:
    def __init__(self, matcher: Any, vocabulary: int) -> None:
        self._matcher, self._vocabulary, self._seen = matcher, vocabulary, 0

    def __call__(self, tokens: Sequence[int]) -> np.ndarray:
        """Which tokens may follow `tokens`, bool [V]. A call has those of the last one, and what was written since."""
        from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask

        for token in tokens[self._seen :]:
            if not self._matcher.consume_token(token):
                raise ValueError(f"found the token {token}, which the schema does not allow here: {self._matcher.get_error()}")
        self._seen = len(tokens)
        bits = allocate_token_bitmask(1, self._vocabulary)
        fill_next_token_bitmask(self._matcher, bits)
        return np.unpackbits(bits[0].view(np.uint8), bitorder="little")[: self._vocabulary].astype(bool)
