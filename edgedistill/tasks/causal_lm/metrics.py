"""Scores of the next tokens of answers: how often the likeliest one is right, whole answers, their likelihood and calibration."""

from __future__ import annotations

import numpy as np

from edgedistill.tasks.causal_lm.wanted import NONE

_AT_ONCE = 16
"""Rows whose probabilities are computed together: those of a large vocabulary take much memory."""


def right(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The share of each answer's tokens whose likeliest one is right, float64 [n]; 1 where it has none.

    logits: float32 [n, W, V]. targets: int64 [n, W], -1 where none counts.
    """
    counted = targets != NONE
    hits = (logits.argmax(axis=2) == targets) & counted
    return hits.sum(axis=1) / np.maximum(counted.sum(axis=1), 1) + ~counted.any(axis=1)


def figures(logits: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """The share of answers that greedy decoding gives whole, and perplexity and calibration error of their tokens.

    Greedy decoding gives an answer where, with the answer so far before it, the likeliest token is right each time. ece: see
    `classification.calibration_error`; each token of an answer is a decision. It is left out where no token counts.
    """
    from edgedistill.tasks.classification.calibration_error import confidence_error

    counted = targets != NONE
    hits = logits.argmax(axis=2) == targets
    told = {"exact match": float((hits | ~counted).all(axis=1).mean())}
    total, confidence = 0.0, []
    for start in range(0, len(logits), _AT_ONCE):
        rows, at = logits[start : start + _AT_ONCE], targets[start : start + _AT_ONCE]
        logprobs = log_probabilities(rows)[at != NONE]
        total -= float(logprobs[np.arange(len(logprobs)), at[at != NONE]].sum())
        confidence.append(np.exp(logprobs.max(axis=1)))
    told["perplexity"] = float(np.exp(total / max(1, int(counted.sum()))))
    if counted.any():
        told["ece"] = confidence_error(np.concatenate(confidence), hits[counted])["ece"]
    return told


def temperature(logits: np.ndarray, targets: np.ndarray) -> float:
    """The temperature of the highest likelihood of the tokens that count, see `classification.temperature_scaling`; 1 where none does."""
    from edgedistill.tasks.classification.temperature_scaling import fit_temperature

    counted = targets != NONE
    return fit_temperature(logits[counted], targets[counted]) if counted.any() else 1.0


def log_probabilities(logits: np.ndarray) -> np.ndarray:
    """log_softmax over the vocabulary, float64 [..., V]."""
    from scipy.special import log_softmax

    return log_softmax(logits.astype(np.float64), axis=-1)  # type: ignore[no-any-return]


def divergence(logits: np.ndarray, expected: np.ndarray) -> float:
    """The mean of KL(expected || logits) over all tokens, in nats."""
    total = 0.0
    for start in range(0, len(logits), _AT_ONCE):
        p, q = (log_probabilities(values[start : start + _AT_ONCE]) for values in (expected, logits))
        total += float((np.exp(p) * (p - q)).sum())
    return total / max(1, int(np.prod(logits.shape[:2])))
