"""Encoders of Hugging Face as modules of tokens and their mask, in a form that every runtime takes."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from edgedistill.errors import UserError
from edgedistill.tasks.text.task import TokenFacts

_HIDDEN = -30000.0
"""What is added to the score of a token that is no part of the text: exp of it is 0, and float16 holds it."""
_CLOSE = 1e-3


class Encoder(nn.Module):
    """A model of transformers behind `input_ids` and `attention_mask`, whole numbers [B, T]: gives its logits, float32 [B, classes].

    The mask is given as numbers that are added to the scores of attention, and positions and segments are given too: what transformers
    computes of a mask cannot be lowered by Core ML, and its own positions would depend on the tokens. Texts are filled up behind.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        taken = inspect.signature(model.forward).parameters
        self.first = first_position(model) if "position_ids" in taken else None
        self._segments = "token_type_ids" in taken

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The result of a batch."""
        return self.result(self.answer(input_ids, attention_mask), attention_mask)

    def result(self, answer: Any, attention_mask: Tensor) -> Tensor:
        """What is made of the answer of the model: its logits."""
        return answer.logits  # type: ignore[no-any-return]

    def answer(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        """What the model gives for a batch, as transformers names it."""
        tokens = input_ids.long()
        more: dict[str, Tensor] = {}
        if self.first is not None:
            more["position_ids"] = torch.arange(tokens.shape[1], device=tokens.device)[None] + self.first
        if self._segments:
            more["token_type_ids"] = torch.zeros_like(tokens)
        hidden = (1.0 - attention_mask.float()) * _HIDDEN
        return self.model(input_ids=tokens, attention_mask=hidden[:, None, None, :], **more)


def first_position(model: nn.Module) -> int:
    """The number of the first position: RoBERTa's embeddings begin behind the one for padding."""
    positions = next((m for name, m in model.named_modules() if name.endswith("position_embeddings") and isinstance(m, nn.Embedding)), None)
    return 0 if positions is None or positions.padding_idx is None else positions.padding_idx + 1


def check(encoder: Encoder, label: str, facts: TokenFacts) -> None:
    """Raise UserError unless the model takes the tokens of the data."""
    config: Any = encoder.model.config
    if config.vocab_size < facts.vocabulary:
        raise UserError(
            f"{label} knows {config.vocab_size:,} tokens, and the tokenizer has {facts.vocabulary:,}: take the tokenizer of the model"
        )
    positions = getattr(config, "max_position_embeddings", None)
    longest = None if positions is None else positions - (encoder.first or 0)
    if longest is not None and longest < facts.length:
        raise UserError(f"{label} takes {longest} tokens, and data.length is {facts.length}: make it at most {longest}")
    check_mask(encoder, label, facts.vocabulary, facts.length)


def check_mask(encoder: Encoder, label: str, vocabulary: int, length: int) -> None:
    """Raise UserError unless the model gives the same by an added mask, and reads nothing of what fills up a text."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, vocabulary, (2, min(length, 16)), generator=generator)
    padding = getattr(encoder.model.config, "pad_token_id", None) or 0
    # Where positions have a padding of their own, the model counts them by the tokens that are not it.
    skipped = padding if encoder.first is None else max(encoder.first - 1, 0)
    tokens[(tokens == padding) | (tokens == skipped)] = (max(padding, skipped) + 1) % vocabulary
    mask = torch.ones_like(tokens)
    mask[0, len(tokens[0]) // 2 :] = 0
    tokens[mask == 0] = padding
    with torch.no_grad():
        ours, theirs = encoder(tokens, mask), encoder.result(encoder.model(input_ids=tokens, attention_mask=mask), mask)
    if (error := float((ours - theirs).abs().max())) > _CLOSE * max(float(theirs.abs().max()), _CLOSE):
        raise UserError(
            f"{label} ({type(encoder.model).__name__}) gives other results where its mask is added to the scores of attention "
            f"(they differ by {error:.2g}): this architecture is not supported; take one such as bert, distilbert, roberta or electra"
        )


def classifier_of(model: nn.Module) -> nn.Linear | None:
    """The layer that gives the logits: the last linear one."""
    return next((layer for layer in reversed(list(model.modules())) if isinstance(layer, nn.Linear)), None)


class Taps:
    """The signals of `inner`, taps of an encoder, and its `embedding`: what the classifier is given, [B, D]."""

    def __init__(self, encoder: Encoder, inner: Any) -> None:
        classifier = classifier_of(encoder.model)
        if classifier is None:
            raise UserError(f"{type(encoder.model).__name__} has no linear layer as classifier, so it gives no embedding")
        self._inner, self._taken = inner, dict[str, Tensor]()
        self._handle = classifier.register_forward_pre_hook(self._take)

    def __call__(self, inputs: Any) -> dict[str, Tensor]:
        """The signals of a batch."""
        self._taken.clear()
        return {**self._inner(inputs), **self._taken}

    def remove(self) -> None:
        """Leave the model as it was."""
        self._inner.remove()
        self._handle.remove()

    def _take(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._taken["embedding"] = inputs[0]
