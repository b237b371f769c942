"""How sure a classifier is. The temperature is inside its program, so that a probability says how often it is right."""

from __future__ import annotations

import numpy as np

_AT_ONCE = 4096
"""Samples whose probabilities are computed together: those of many classes take much memory."""
_GAPS = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.5, 8.0, 10.0, 12.0, 16.0)


def confidences(logits: np.ndarray) -> dict[str, np.ndarray]:
    """Three measures of logits [n, classes], float64 [n] from 0 to 1.

    probability: the largest one (Hendrycks and Gimpel 2017, arXiv 1610.02136). margin: that less the second one. entropy: 1 less the
    entropy of the probabilities over that of equal ones. A single class is always sure.
    """
    parts = [_confidences(logits[start : start + _AT_ONCE]) for start in range(0, len(logits), _AT_ONCE)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _confidences(logits: np.ndarray) -> dict[str, np.ndarray]:
    from scipy.special import entr, softmax

    shares = softmax(logits.astype(np.float64), axis=1)
    count = shares.shape[1]
    if count == 1:
        return dict.fromkeys(("probability", "margin", "entropy"), np.ones(len(shares)))
    second, first = np.partition(shares, count - 2, axis=1)[:, -2:].T
    return {
        "probability": first,
        "margin": first - second,
        "entropy": np.clip(1 - entr(shares).sum(axis=1) / np.log(count), 0.0, 1.0),
    }


def sure_and_unsure() -> np.ndarray:
    """Logits float64 [n, 3] from equal ones to clear ones; each number is the largest one in turn."""
    rows = [np.roll([gap, 0.0, -gap / 2], place) for place, gap in enumerate(_GAPS)]
    return np.array(rows)
