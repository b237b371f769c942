"""How close embeddings are to those of a teacher."""

from __future__ import annotations

import numpy as np

from edgedistill.tasks.data import spread

_MOST = 2000
"""Texts whose similarities are compared, all with all."""


def cosines(embedding: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """The cosine of each text's embedding [n, D] to the expected one, float64 [n]."""
    return np.sum(_unit(embedding) * _unit(expected), axis=1)


def ranks(embedding: np.ndarray, expected: np.ndarray) -> dict[str, float]:
    """How alike the similarities among texts are, of embeddings [n, D] and [n, E]: of 2,000 of them at even distances, if there are more.

    spearman: of the cosines of all pairs. recall_at_1 and recall_at_10: the share of texts whose nearest neighbour by
    `expected` is among the 1 and 10 nearest by `embedding`. Three texts at least; none of these for fewer.
    """
    from scipy.stats import spearmanr

    taken = spread(len(embedding), _MOST)
    if len(taken) < 3:
        return {}
    ours, theirs = (values @ values.T for values in (_unit(embedding[taken]), _unit(expected[taken])))
    pairs = np.triu_indices(len(taken), 1)
    result = {"spearman": float(spearmanr(ours[pairs], theirs[pairs])[0])}
    for similarities in (ours, theirs):
        # A text is no neighbour of itself.
        np.fill_diagonal(similarities, -np.inf)
    nearest = theirs.argmax(axis=1)
    closer = (ours > ours[np.arange(len(taken)), nearest][:, None]).sum(axis=1)
    return {**result, **{f"recall_at_{k}": float((closer < k).mean()) for k in (1, 10) if k < len(taken)}}


def _unit(vectors: np.ndarray) -> np.ndarray:
    wide = vectors.astype(np.float64)
    return wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), np.finfo(np.float64).tiny)
