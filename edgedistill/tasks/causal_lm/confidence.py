"""How sure a language model is of a whole answer, by the log-probabilities that it gave to its tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

FILL = 1.0
"""What fills up the log-probabilities of shorter answers: none is above 0."""
_GAPS = (0.0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0)


def filled(answers: Sequence[Sequence[float]], length: int) -> np.ndarray:
    """Log-probabilities of answers, float32 [n, length], filled up by `FILL`."""
    rows = np.full((len(answers), length), FILL, np.float32)
    for place, answer in enumerate(answers):
        rows[place, : len(answer)] = answer
    return rows


def lengths(logprobs: np.ndarray) -> np.ndarray:
    """How many tokens each answer has, int [n]."""
    return (logprobs != FILL).sum(axis=1)


def confidences(logprobs: np.ndarray) -> dict[str, np.ndarray]:
    """Three measures of log-probabilities [n, length] of `filled`, float64 [n] from 0 to 1; 0 for an answer without tokens.

    mean: the geometric mean of the tokens' probabilities. least: the smallest one. Both are those of Manakul et al. 2023
    (arXiv 2303.08896) for a model whose probabilities are known. first: that of the first token.
    """
    values = logprobs.astype(np.float64)
    written = values != FILL
    count = written.sum(axis=1)
    measures = {
        "mean": np.where(written, values, 0.0).sum(axis=1) / np.maximum(count, 1),
        "least": np.where(written, values, 0.0).min(axis=1, initial=0.0),
        "first": values[:, 0],
    }
    return {name: np.where(count > 0, np.exp(found), 0.0) for name, found in measures.items()}


def sure_and_unsure() -> np.ndarray:
    """Log-probabilities float64 [n, 4] of made answers, from sure to unsure; the least probable token stands at each place in turn."""
    return np.array([-gap * np.roll([1.0, 0.5, 0.25, 0.125], place) for place, gap in enumerate(_GAPS)])
