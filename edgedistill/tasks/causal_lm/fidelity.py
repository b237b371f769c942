"""How far the next-token probabilities of a file are from those of the model that it was made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgedistill.tasks.causal_lm.metrics import log_probabilities
from edgedistill.tasks.causal_lm.wanted import NONE

_DRAWS = 2000


@dataclass(frozen=True)
class Fidelity:
    """Means over the tokens that count, with 95% intervals."""

    tokens: int
    divergence: float
    """KL(expected || outputs), nats a token."""
    divergence_low: float
    divergence_high: float
    agreement: float
    """Share of the tokens for which the same next token is likeliest."""
    agreement_low: float
    agreement_high: float


def fidelity(logits: np.ndarray, expected: np.ndarray, targets: np.ndarray) -> Fidelity:
    """The fidelity of `logits` to `expected`, float32 [n, W, V] both, where `targets` int64 [n, W] count (are not -1).

    Tokens of a row depend on each other, so the intervals are those of a bootstrap over the rows: 2,000 draws of n rows, with their own
    numbers of tokens (Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13), by a fixed seed.
    """
    counted = targets != NONE
    divergences, same, counts = (np.zeros(len(logits)) for _ in range(3))
    for row in range(len(logits)):
        ours, theirs = logits[row][counted[row]], expected[row][counted[row]]
        p, q = log_probabilities(theirs), log_probabilities(ours)
        divergences[row] = (np.exp(p) * (p - q)).sum()
        same[row] = (ours.argmax(axis=1) == theirs.argmax(axis=1)).sum()
        counts[row] = len(ours)
    drawn = np.random.default_rng(0).integers(0, len(logits), (_DRAWS, len(logits)))
    totals = np.maximum(counts[drawn].sum(axis=1), 1)
    total = max(counts.sum(), 1)
    low, high = np.quantile(divergences[drawn].sum(axis=1) / totals, (0.025, 0.975))
    agreed_low, agreed_high = np.quantile(same[drawn].sum(axis=1) / totals, (0.025, 0.975))
    return Fidelity(
        int(counts.sum()), float(divergences.sum() / total), float(low), float(high), float(same.sum() / total), float(agreed_low),
        float(agreed_high),
    )  # fmt: skip
