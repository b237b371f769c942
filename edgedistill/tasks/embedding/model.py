"""Encoders that give one embedding for a text."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from edgedistill.tasks.embedding.pooling import Pooling
from edgedistill.tasks.text.encoder import Encoder


class Embedder(Encoder):
    """An encoder of transformers behind `input_ids` and `attention_mask`, int [B, T]: gives its embedding, float32 [B, D].

    dimensions: D, where a learned linear layer makes them of the pooled vector; None for the width of the model.
    """

    def __init__(self, model: nn.Module, pooling: Pooling, dimensions: int | None = None) -> None:
        if hasattr(model, "pooler"):
            # Its layer is no part of the embedding, and would be saved and shipped.
            model.pooler = None  # type: ignore[assignment]
        super().__init__(model)
        self.pooling = pooling
        self.projection = None if dimensions is None else nn.Linear(width_of(model.config), dimensions)

    def result(self, answer: Any, attention_mask: Tensor) -> Tensor:
        """The embeddings of a batch: tokens pooled, projected, and divided by their length, as far as the model does so."""
        tokens = answer.last_hidden_state
        if self.pooling.mode == "cls":
            pooled = tokens[:, 0]
        else:
            mask = attention_mask.float()[:, :, None]
            pooled = (tokens * mask).sum(dim=1) / mask.sum(dim=1).clamp_min(1.0)
        if self.projection is not None:
            pooled = self.projection(pooled)
        return pooled / pooled.norm(dim=1, keepdim=True).clamp_min(1e-6) if self.pooling.normalize else pooled


def width_of(config: Any) -> int:
    """Numbers that a model of this configuration gives for a token."""
    return int(config.hidden_size)
