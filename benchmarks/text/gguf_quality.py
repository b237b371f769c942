"""How far files are from the model in float32: the distribution of each next token, and whole greedy answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from gguf_models import LENGTH, held_out, loaded
from gguf_runtime import File, Running, greedy
from pydantic import BaseModel

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

PROMPTS, PROMPT, WRITTEN = 20, 32, 64
"""Prompts, their tokens, and the tokens that are written behind each."""
_ROWS = 24


class Quality(BaseModel):
    """kl: mean of KL(float32 || file) in nats. agreement: share of tokens whose most probable next token is the same.

    loss: mean cross entropy of the text's next token, nats. tokens: how many were compared.
    equal: how many of PROMPTS greedy answers are the same to the last of WRITTEN tokens. common: mean tokens before the first other one.
    """

    kl: float
    agreement: float
    loss: float
    tokens: int
    equal: int
    common: float


def qualities(files: Sequence[File], folder: Path) -> dict[str, Quality]:
    """The quality of each of `files`, and of the model itself as `transformers`."""
    model, tokenizer = loaded(folder)
    rows = held_out(tokenizer, _ROWS)
    reference = _Reference(model)
    expected = [_log_softmax(reference.forward(row, 0, every=True)) for row in rows]
    answers = [greedy(reference.forward, row[:PROMPT].tolist(), WRITTEN) for row in rows[:PROMPTS]]
    theirs = [_by_transformers(model, row[:PROMPT]) for row in rows[:PROMPTS]]
    found = {"transformers": _quality(reference, rows, expected, theirs)}
    for file in files:
        found[file.name] = _quality(file.open(folder, LENGTH), rows, expected, answers)
        print(file.name, found[file.name], flush=True)
    return found


class _Reference:
    """The model by transformers, which computes all tokens of a text anew each time."""

    def __init__(self, model: LlamaForCausalLM) -> None:
        self._model = model
        self._text = np.zeros(0, dtype=np.int32)

    def forward(self, tokens: np.ndarray, start: int, *, every: bool = False) -> np.ndarray:
        import torch

        self._text = np.concatenate([self._text[:start], tokens])
        with torch.no_grad():
            logits: np.ndarray = self._model(torch.from_numpy(self._text[None]).long(), use_cache=False).logits[0, start:].numpy()
        return logits if every else logits[-1:]


def _by_transformers(model: Any, prompt: np.ndarray) -> list[int]:
    import torch

    given = torch.from_numpy(prompt[None]).long()
    # Without a token that ends the answer, so that all have the same length.
    model.generation_config.eos_token_id = None
    whole = model.generate(given, attention_mask=torch.ones_like(given), do_sample=False, max_new_tokens=WRITTEN)
    return [int(token) for token in whole[0, len(prompt) :]]


def _quality(running: Running, rows: np.ndarray, expected: Sequence[np.ndarray], answers: Sequence[Sequence[int]]) -> Quality:
    kl, same, loss = list[np.ndarray](), list[np.ndarray](), list[np.ndarray]()
    for row, reference in zip(rows, expected, strict=True):
        logits = _log_softmax(running.forward(row, 0, every=True))
        kl.append((np.exp(reference) * (reference - logits)).sum(-1))
        same.append(reference.argmax(-1) == logits.argmax(-1))
        loss.append(-np.take_along_axis(logits[:-1], row[1:, None].astype(np.int64), 1)[:, 0])
    common = []
    for row, answer in zip(rows[:PROMPTS], answers, strict=True):
        written = greedy(running.forward, row[:PROMPT].tolist(), WRITTEN)
        common.append(next((place for place, (a, b) in enumerate(zip(written, answer, strict=True)) if a != b), WRITTEN))
    return Quality(
        kl=float(np.concatenate(kl).mean()), agreement=float(np.concatenate(same).mean()), loss=float(np.concatenate(loss).mean()),
        tokens=rows.size, equal=sum(place == WRITTEN for place in common), common=float(np.mean(common)),
    )  # fmt: skip


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    """Float64 [T, V]; a copy, since a runtime overwrites its own."""
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))
