"""Writes answers to prompts by a file of a language model that is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgedistill.errors import UserError
from edgedistill.tasks.causal_lm.generation import Choose, Forward, generate, greedy, sampling
from edgedistill.tasks.causal_lm.glue.python.prompts import Pieces, Prompts

if TYPE_CHECKING:
    from edgedistill.tasks.causal_lm.structured import Grammar


class Writer:
    """A file of a language model that is loaded, and answers prompts. told: what it is, and how it writes; see `Writing`."""

    def __init__(self, told: Mapping[str, Any]) -> None:
        template = told["template"] and Path(told["template"]).read_text(encoding="utf-8")
        self.prompts = Prompts(Path(told["tokenizer"]), template, told["special_tokens"])
        self._told = told
        self._grammar = None if told["schema"] is None else _grammar(told)

    @cached_property
    def _adapter(self) -> Any:
        adapter = import_module(self._told["adapter"])
        adapter.prepare(self._told["threads"])
        return adapter

    @cached_property
    def _forward(self) -> Forward:
        return self._adapter.load(self._told["path"], self._told["threads"], self._told["signature"])  # type: ignore[no-any-return]

    def load(self) -> dict[str, str]:
        """Load the file, which the first prompt does otherwise; returns the versions of its runtime."""
        _ = self._forward
        return self._adapter.versions()  # type: ignore[no-any-return]

    def answer(self, prompt: Sequence[int], give: Callable[[str], None], most: int | None = None) -> dict[str, Any]:
        """The answer to a prompt, its tokens, as `records.generated` has it, with at most `most` tokens.

        give: is given each piece of the text. Raises UserError for a prompt that does not fit.
        """
        told = self._told
        room = _room(len(prompt), most or told["max_tokens"], told["length"])
        choose = self._choice(room)
        forward, pieces, end = self._forward, Pieces(self.prompts), told["end"]

        def streamed(logprobs: np.ndarray) -> int:
            token = choose(logprobs)
            if token != end and (piece := pieces.add(token)):
                give(piece)
            return token

        made = generate(
            forward, np.array(prompt, np.int32), limit=room, stop={end}, choose=streamed, length=told["length"], piece=told["piece"]
        )  # fmt: skip
        if not np.isfinite(made.logprobs).all():
            raise ValueError(f"found scores of tokens that are no numbers behind {int(np.isfinite(made.logprobs).argmin())} tokens")
        give(pieces.rest(made.tokens))
        rate = len(made.times_s) / sum(made.times_s) if made.times_s else {"value": None, "unavailable": "the answer has one token"}
        return {
            "runtime": self._adapter.versions(),
            "prompt_tokens": len(prompt),
            "text": self.prompts.text(made.tokens),
            "tokens": made.tokens,
            "logprobs": made.logprobs,
            "finish": "stop" if made.tokens[-1] == end else "length",
            "time_to_first_token_ms": 1e3 * made.ttft_s,
            "tokens_per_s": rate,
        }

    def _choice(self, room: int) -> Choose:
        told = self._told
        choose = sampling(told["seed"], told["temperature"], told["top_p"]) if told["temperature"] else greedy
        if self._grammar is None:
            return choose
        closing = self._grammar.closing(choose, room)
        if (least := closing.shortest()) is not None and least > room:
            raise UserError(
                f"found room for {room} tokens, and JSON that fits the schema has {least} or more: raise --max-tokens, or shorten the "
                "prompt"
            )
        return closing


def _room(count: int, most: int | None, length: int) -> int:
    """Most tokens of the answer to a prompt of `count` tokens."""
    if not 0 < count <= length:
        raise UserError(
            f"found a prompt of {count} tokens, with its chat template, expected 1 to {length}: shorten it, or train with a "
            "larger data.length"
        )
    # The last token is not given back, so that it needs no place.
    return min(most or length, length - count + 1)


def _grammar(told: Mapping[str, Any]) -> Grammar:
    from edgedistill.tasks.causal_lm.structured import Grammar

    tokenizer = Path(told["tokenizer"]).read_text(encoding="utf-8")
    return Grammar(told["schema"], tokenizer, vocabulary=told["vocabulary"], stop={told["end"]})
