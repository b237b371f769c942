"""Smaller tables of tokens and of positions: fewer rows, and fewer numbers in each."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from edgedistill.errors import UserError


class TokenTable(nn.Module):
    """A table of tokens [rows, rank] that takes the place of one of [vocabulary, width].

    seen: bool [vocabulary], the tokens that have a row; all others share row 0. None gives each token its row. A linear layer makes the
    width where the rank is another. narrow: how many of the numbers all tokens have, also those without a row.
    """

    def __init__(self, seen: Tensor | None, vocabulary: int, rank: int, width: int, narrow: int | None = None) -> None:
        super().__init__()
        self.rows: Tensor | None
        self.register_buffer("rows", None if seen is None else torch.where(seen, seen.long().cumsum(dim=0), 0))
        self.table = nn.Embedding(vocabulary if seen is None else int(seen.sum()) + 1, rank - (narrow or 0))
        self.narrow = None if narrow is None else nn.Embedding(vocabulary, narrow)
        self.widen = None if rank == width else nn.Linear(rank, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """The vectors of tokens [B, T], float32 [B, T, width]."""
        vectors: Tensor = self.table(tokens if self.rows is None else self.rows[tokens])
        if self.narrow is not None:
            vectors = torch.cat([vectors, self.narrow(tokens)], dim=-1)
        return vectors if self.widen is None else self.widen(vectors)  # type: ignore[no-any-return]


def shrink(model: nn.Module, *, seen: Tensor | None, rank: int | None, narrow: int | None = None) -> None:
    """Replace the table of tokens of `model` by one with rows for the tokens that are `seen`, and its `rank` principal components.

    The shared row is the mean of the table. narrow: the number of components, the largest ones, that tokens without a row have as well.
    Raises UserError where the table is no wider than `rank`.
    """
    old: nn.Embedding = model.get_input_embeddings()  # type: ignore[operator]
    vocabulary, width = old.weight.shape
    if rank is not None and rank >= width:
        raise UserError(f"student.cut.token_width: found {rank}, expected less than {width}, the width of the teacher's table of tokens")
    made = TokenTable(seen, vocabulary, width if rank is None else rank, width, narrow)
    with torch.no_grad():
        every = old.weight.double()
        mean = every.mean(dim=0)
        weights = every
        if seen is not None:
            weights = torch.cat([mean[None], every[seen]])
            mean = weights.mean(dim=0)
        if made.widen is not None:
            # Of a square matrix of the width, which takes less time than that of a long table. The largest components come last.
            _, vectors = torch.linalg.eigh((weights - mean).T @ (weights - mean))
            components = vectors[:, -made.widen.in_features :]
            made.widen.weight.copy_(components)
            made.widen.bias.copy_(mean)
            weights = ((weights - mean) @ components)[:, : made.table.embedding_dim]
            if made.narrow is not None:
                made.narrow.weight.copy_((every - mean) @ components[:, made.table.embedding_dim :])
        made.table.weight.copy_(weights)
    model.set_input_embeddings(made)  # type: ignore[operator]


def drop_positions(model: Any, count: int) -> None:
    """Keep the first `count` rows of the tables of positions of `model`: texts have no other positions."""
    for module in model.modules():
        positions = getattr(module, "position_embeddings", None)
        if isinstance(positions, nn.Embedding) and count < positions.num_embeddings:
            positions.weight = nn.Parameter(positions.weight[:count].detach().clone())
            positions.num_embeddings = model.config.max_position_embeddings = count
