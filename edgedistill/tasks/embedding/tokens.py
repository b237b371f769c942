"""Smaller tables of tokens: fewer rows, and fewer numbers in each."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgedistill.errors import UserError


class TokenTable(nn.Module):
    """A table of tokens [rows, rank] that takes the place of one of [vocabulary, width].

    seen: bool [vocabulary], the tokens that have a row; all others share row 0. None gives each token its row. A linear layer makes the
    width where the rank is another.
    """

    def __init__(self, seen: Tensor | None, vocabulary: int, rank: int, width: int) -> None:
        super().__init__()
        self.rows: Tensor | None
        self.register_buffer("rows", None if seen is None else torch.where(seen, seen.long().cumsum(dim=0), 0))
        self.table = nn.Embedding(vocabulary if seen is None else int(seen.sum()) + 1, rank)
        self.widen = None if rank == width else nn.Linear(rank, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """The vectors of tokens [B, T], float32 [B, T, width]."""
        vectors: Tensor = self.table(tokens if self.rows is None else self.rows[tokens])
        return vectors if self.widen is None else self.widen(vectors)  # type: ignore[no-any-return]


def shrink(model: nn.Module, *, seen: Tensor | None, rank: int | None) -> None:
    """Replace the table of tokens of `model` by one with rows for the tokens that are `seen`, and its `rank` principal components.

    The shared row is the mean of the table. Raises UserError where the table is no wider than `rank`.
    """
    old: nn.Embedding = model.get_input_embeddings()  # type: ignore[operator]
    vocabulary, width = old.weight.shape
    if rank is not None and rank >= width:
        raise UserError(f"student.cut.token_width: found {rank}, expected less than {width}, the width of the teacher's table of tokens")
    made = TokenTable(seen, vocabulary, width if rank is None else rank, width)
    with torch.no_grad():
        weights = old.weight.double()
        mean = weights.mean(dim=0)
        if seen is not None:
            weights = torch.cat([mean[None], weights[seen]])
            mean = weights.mean(dim=0)
        if made.widen is not None:
            # Of a square matrix of the width, which takes less time than that of a long table.
            _, vectors = torch.linalg.eigh((weights - mean).T @ (weights - mean))
            components = vectors[:, -made.table.embedding_dim :]
            made.widen.weight.copy_(components)
            made.widen.bias.copy_(mean)
            weights = (weights - mean) @ components
        made.table.weight.copy_(weights)
    model.set_input_embeddings(made)  # type: ignore[operator]
