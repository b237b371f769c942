"""Scores of the next tokens of answers: how often the likeliest one is right, whole answers, their likelihood and calibration."""

from __future__ import annotations

import numpy as np

from edgedistill.tasks.causal_lm.wanted import NONE
from edgedistill.tasks.intervals import Gaps

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
    confidence, likelihood = _tokens(logits, targets)
    told["perplexity"] = float(np.exp(-likelihood.sum() / max(1, len(likelihood))))
    if counted.any():
        told["ece"] = confidence_error(confidence, hits[counted])["ece"]
    return told


def gaps(logits: np.ndarray, targets: np.ndarray) -> Gaps | None:
    """What `ece` is made of, by answer; None where no token counts."""
    from edgedistill.tasks.classification.calibration_error import gaps

    counted = targets != NONE
    if not counted.any():
        return None
    hits, (confidence, _) = logits.argmax(axis=2) == targets, _tokens(logits, targets)
    return gaps(confidence, hits[counted], np.nonzero(counted)[0], len(targets), targets.shape[1])


def _tokens(logits: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each token that counts the largest probability, and the log probability of the target, float64 [N] each."""
    confidence, likelihood = [np.zeros(0)], [np.zeros(0)]
    for start in range(0, len(logits), _AT_ONCE):
        rows, at = logits[start : start + _AT_ONCE], targets[start : start + _AT_ONCE]
        logprobs = log_probabilities(rows)[at != NONE]
        likelihood.append(logprobs[np.arange(len(logprobs)), at[at != NONE]])
        confidence.append(np.exp(logprobs.max(axis=1)))
    return np.concatenate(confidence), np.concatenate(likelihood)


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
