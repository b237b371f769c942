"""Answers that a decoder writes: drawn in training for on-policy distillation, or the likeliest ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgedistill.tasks.causal_lm.dataset import Completions
from edgedistill.tasks.causal_lm.decoder import ATTENTION, Decoder
from edgedistill.tasks.causal_lm.wanted import NONE, longest, targets_of, wanted_of
from edgedistill.tasks.data import Batch


def own_answers(decoder: Decoder, batch: Batch, data: Completions) -> Batch:
    """`batch` with answers that `decoder` draws at temperature 1, of at most as many tokens as its rows have room for.

    The drawn tokens are what counts, and have no targets; those of a bad answer are to avoid. Agarwal et al. 2024
    (arXiv 2306.13649), algorithm 1.
    """
    end, padding = data.facts.end, data.facts.padding
    tokens = batch.inputs["input_ids"]
    # The first wanted place is the last token of the prompt.
    asked = batch.inputs["wanted"][:, 0] + 1
    answers = written(decoder, [row[:count] for row, count in zip(tokens, asked, strict=True)], tokens.shape[1], end, sample=True)
    rows = torch.full_like(tokens, padding)
    for place, (prompt, answer) in enumerate(zip(asked.tolist(), answers, strict=True)):
        rows[place, :prompt] = tokens[place, :prompt]
        rows[place, prompt : prompt + len(answer)] = answer
    prompts, counts = asked.numpy(), asked.numpy() + np.array([len(answer) for answer in answers])
    wanted = wanted_of(prompts, counts, longest(prompts, counts))
    following = torch.from_numpy(targets_of(rows.numpy(), wanted, prompts, counts))
    none = torch.full_like(following, NONE)
    avoid = torch.where(_bad(data, tokens, asked, answers)[:, None], following, none)
    inputs = {"input_ids": rows, "positions": batch.inputs["positions"], "wanted": torch.from_numpy(wanted)}
    return Batch(inputs, {"logits": none, "avoid": avoid}, {"logits": following != NONE})


def _bad(data: Completions, tokens: Tensor, asked: Tensor, answers: list[Tensor]) -> Tensor:
    """Which of the `answers` break format, schema, policy or a scorer, bool [B]."""
    texts = [data.text(answer.numpy()) for answer in answers]
    bad = np.array([not (data.judge.valid(text) and data.judge.allows(text)) for text in texts])
    if data.scorers:
        prompts = [data.text(row[:count].numpy()) for row, count in zip(tokens, asked, strict=True)]
        for scorer in data.scorers:
            bad |= scorer(prompts, texts) < scorer.config.least
    return torch.from_numpy(bad)


def written(decoder: Decoder, prompts: list[Tensor], length: int, end: int, *, sample: bool) -> list[Tensor]:
    """An answer to each prompt, int32 [n] with its end where it has one, so that both have at most `length` tokens together.

    sample: draw at temperature 1, instead of taking the likeliest token each time.
    """
    from transformers.utils import logging

    model: Any = decoder.model
    device = next(decoder.parameters()).device
    longest, trains = max(map(len, prompts)), decoder.training
    # Prompts end together, so that all answers begin at one place.
    tokens = torch.full((len(prompts), longest), end, dtype=torch.int64)
    given = torch.zeros_like(tokens)
    for row, prompt in enumerate(prompts):
        tokens[row, longest - len(prompt) :] = prompt
        given[row, longest - len(prompt) :] = 1
    room = max(length - len(prompt) for prompt in prompts)
    drawing: dict[str, Any] = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0} if sample else {"do_sample": False}
    # It warns of what is meant: few options, and rows that are filled up in front.
    logging.set_verbosity_error()
    decoder.eval()
    try:
        with torch.no_grad(), by_transformers(model):
            answers = model.generate(
                input_ids=tokens.to(device), attention_mask=given.to(device), max_new_tokens=room, eos_token_id=end, pad_token_id=end,
                use_cache=True, **drawing,
            )  # fmt: skip
    finally:
        decoder.train(trains)
    return [_answer(row[longest:].cpu(), length - len(prompt), end) for row, prompt in zip(answers, prompts, strict=True)]


OF_TRANSFORMERS = "sdpa"
"""Attention as transformers does it."""


@contextmanager
def by_transformers(model: Any) -> Iterator[None]:
    """Let a decoder's model attend as transformers does, whose own cache and masks `generate` needs."""
    model.set_attn_implementation(OF_TRANSFORMERS)
    try:
        yield
    finally:
        model.set_attn_implementation(ATTENTION)


def _answer(tokens: Tensor, room: int, end: int) -> Tensor:
    """What of the drawn `tokens` is the answer: up to its end, and what there is room for."""
    ends = (tokens == end).nonzero()
    count = int(ends[0]) + 1 if len(ends) else len(tokens)
    return tokens[: min(count, room)].int()
