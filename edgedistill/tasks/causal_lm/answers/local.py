"""Asks a model of Hugging Face transformers on this machine for answers."""

from __future__ import annotations

import hashlib
import secrets
import time
from bisect import bisect_left
from collections.abc import Container, Generator, Sequence
from typing import TYPE_CHECKING, Any

from edgedistill.errors import UserError
from edgedistill.tasks.causal_lm.answers.asking import Answer, Prompt, Usage
from edgedistill.tasks.causal_lm.answers.ledger import now
from edgedistill.tasks.causal_lm.answers.recipe import Sampling

if TYPE_CHECKING:
    from transformers import GenerationConfig, LogitsProcessor, PreTrainedModel, PreTrainedTokenizerBase, StoppingCriteria

_Row = tuple[Prompt, int, list[int]]


class LocalAsker:
    """A causal language model with its tokenizer.

    The random numbers of a sample follow from the seed, the prompt and its number alone, so that it does not depend on what else is in its
    batch: in float32 but for rounding, which decides a token of some millions; less so in 16 bits.

    model: in eval mode, on its device. name: identity in the ledger; models with other weights need other names.
    """

    top_logprobs = None

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str, batch_size: int = 8) -> None:
        self.model = name
        # Their types name more kinds of inputs and results than are used here.
        self._network: Any = model
        self._tokenizer: Any = tokenizer
        self._batch_size = batch_size

    def ask(self, prompts: Sequence[Prompt], sampling: Sampling, answered: Container[tuple[str, int]] = frozenset()) -> Generator[Answer]:
        """Answer as `Asker.ask` says. Raises UserError for a prompt that is empty, or too long for the model."""
        rows = list[_Row]()
        for prompt in prompts:
            if missing := [sample for sample in range(sampling.samples) if (prompt.key, sample) not in answered]:
                tokens = self._tokens(prompt, sampling)
                rows += [(prompt, sample, tokens) for sample in missing]
        # Prompts of like length need little padding; the longest come first, so that too little memory shows at once.
        rows.sort(key=lambda row: -len(row[2]))
        for start in range(0, len(rows), self._batch_size):
            yield from self._answers(rows[start : start + self._batch_size], sampling)

    def _tokens(self, prompt: Prompt, sampling: Sampling) -> list[int]:
        if prompt.messages is None:
            tokens = self._tokenizer(prompt.text)["input_ids"]
        elif self._tokenizer.chat_template is None:
            raise UserError(f"{self.model}: its tokenizer has no chat template, expected one for prompts of messages; give texts instead")
        else:
            tokens = self._tokenizer.apply_chat_template(prompt.messages, add_generation_prompt=True, return_dict=True)["input_ids"]
        most = getattr(self._network.config, "max_position_embeddings", None)
        if not tokens:
            raise UserError(f"{self.model}: the prompt {prompt.key[:12]} has no token; leave it out")
        if most is not None and len(tokens) + sampling.max_tokens > most:
            raise UserError(
                f"answers.sampling.max_tokens: the prompt {prompt.key[:12]} has {len(tokens)} tokens, and with {sampling.max_tokens} of an "
                f"answer these are more than the {most} that {self.model} takes; lower max_tokens, or leave the prompt out"
            )
        return list(tokens)

    def _answers(self, batch: Sequence[_Row], sampling: Sampling) -> Generator[Answer]:
        import torch

        started = time.monotonic()
        width = max(len(tokens) for _, _, tokens in batch)
        padding = self._tokenizer.pad_token_id
        ends = self._ends()
        padding = padding if padding is not None else min(ends, default=0)
        # On the left: what is generated continues every prompt at the same place.
        ids = torch.tensor([[padding] * (width - len(tokens)) + tokens for _, _, tokens in batch], device=self._network.device)
        mask = torch.tensor([[0] * (width - len(tokens)) + [1] * len(tokens) for _, _, tokens in batch], device=self._network.device)
        drawing = [] if sampling.temperature == 0 else [_draws(batch, sampling, width, ids.device)]
        with torch.inference_mode():
            made = self._network.generate(
                ids,
                attention_mask=mask,
                generation_config=self._plain(sampling, ends, padding),
                logits_processor=drawing,
                stopping_criteria=[_stops(self._tokenizer, sampling.stop, width)] if sampling.stop else [],
            )
        latency_s = time.monotonic() - started
        for (prompt, sample, tokens), row in zip(batch, made[:, width:].tolist(), strict=True):
            text, count, reason = self._ended(row, sampling, ends)
            usage = Usage(len(tokens), count)
            yield Answer(prompt.key, sample, text, True, reason, usage, latency_s, now(), "local")

    def _ends(self) -> set[int]:
        """The tokens that end an answer."""
        configured = self._network.generation_config.eos_token_id
        found = configured if isinstance(configured, list) else [configured]
        return {token for token in [*found, self._tokenizer.eos_token_id] if token is not None}

    def _plain(self, sampling: Sampling, ends: set[int], padding: int) -> GenerationConfig:
        """One token after the other, without the penalties that the folder of a model may set."""
        from transformers import GenerationConfig

        return GenerationConfig(
            max_new_tokens=sampling.max_tokens, do_sample=False, num_beams=1, repetition_penalty=1.0, no_repeat_ngram_size=0,
            min_new_tokens=0,
            eos_token_id=sorted(ends) or None, pad_token_id=padding,
        )  # fmt: skip

    def _ended(self, row: list[int], sampling: Sampling, ends: set[int]) -> tuple[str, int, str]:
        """Text, tokens paid, and why it ended; behind the end of a row stands padding of the batch."""
        count = next((place + 1 for place, token in enumerate(row) if token in ends), None)
        own = row if count is None else row[: count - 1]
        text = self._tokenizer.decode(own, skip_special_tokens=True)
        places = [place for stop in sampling.stop if (place := text.find(stop)) >= 0]
        if places:
            text = text[: min(places)]
            # Until the row stopped, as far as it can be told: the others of the batch may have gone on.
            count = self._until_stop(own, sampling.stop)
        return text, len(row) if count is None else count, "length" if count is None else "stop"

    def _until_stop(self, tokens: list[int], stops: list[str]) -> int:
        def has_stop(count: int) -> bool:
            text = self._tokenizer.decode(tokens[:count], skip_special_tokens=True)
            return any(stop in text for stop in stops)

        return 1 + bisect_left(range(1, len(tokens) + 1), True, key=has_stop)


def _stops(tokenizer: Any, stops: list[str], width: int) -> StoppingCriteria:
    """What ends a row as soon as its text has one of `stops`.

    That of transformers also ends rows whose prompt and answer have it together, and refuses texts that no token is part of.
    """
    import torch
    from transformers import StoppingCriteria

    # A token has a byte at least, or it is special and no part of the text.
    enough = 2 * max(len(stop.encode("utf-8", "replace")) for stop in stops) + 8

    class Stops(StoppingCriteria):
        def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:
            texts = tokenizer.batch_decode(input_ids[:, width:][:, -enough:], skip_special_tokens=True)
            return torch.tensor([any(stop in text for stop in stops) for text in texts], device=input_ids.device)

    return Stops()


def _draws(batch: Sequence[_Row], sampling: Sampling, width: int, device: Any) -> LogitsProcessor:
    """What leaves one token of each row possible, drawn by inversion of the cumulative probabilities.

    One random number a token is all that a sample needs, and each sample has its own.
    """
    import torch
    from transformers import LogitsProcessor

    first = secrets.randbits(31) if sampling.seed is None else sampling.seed
    drawn = torch.stack(
        [
            torch.rand(sampling.max_tokens, dtype=torch.float64, generator=torch.Generator().manual_seed(_seed(first, prompt.key, sample)))
            for prompt, sample, _ in batch
        ]
    ).to(device)

    class Draws(LogitsProcessor):
        def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            # Shapes: [N, tokens so far], [N, vocabulary] -> [N, vocabulary].
            step = input_ids.shape[1] - width
            likely, order = torch.softmax(scores.double() / sampling.temperature, dim=-1).sort(dim=-1, descending=True, stable=True)
            reached = likely.cumsum(dim=-1)
            # The token that reaches top_p is the last that may be drawn (nucleus sampling, arXiv:1904.09751).
            last = (reached < sampling.top_p).sum(dim=-1, keepdim=True).clamp(max=scores.shape[1] - 1)
            target = drawn[:, step : step + 1] * reached.gather(1, last)
            place = torch.searchsorted(reached, target, right=True).minimum(last)
            return torch.full_like(scores, -torch.inf).scatter(1, order.gather(1, place), 0.0)

    return Draws()


def _seed(first: int, key: str, sample: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{first} {key} {sample}".encode()).digest()[:8]) >> 1
