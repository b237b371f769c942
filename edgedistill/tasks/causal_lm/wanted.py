"""The wanted places of rows: those whose next token is of the answer, and what that token is."""

from __future__ import annotations

import numpy as np

NONE = -1
"""The target of a wanted place that does not count, behind the end of a shorter answer."""
_LEAST = 2
"""Wanted places of a row, at least: a program that was traced with one takes one only."""


def longest(prompts: np.ndarray, counts: np.ndarray) -> int:
    """Wanted places in rows of up to `counts` tokens, of which `prompts` are prompts; int [N] both."""
    return max(_LEAST, int((counts - np.maximum(prompts, 1)).max(initial=0)))


def wanted_of(prompts: np.ndarray, counts: np.ndarray, room: int) -> np.ndarray:
    """The places whose next token is of the answer, int32 [B, room], from the last one of the prompt on; filled up by the last one.

    prompts, counts: tokens of the prompts and of the whole rows, int [B]. Nothing gives the first token of a row.
    """
    first = np.maximum(prompts, 1) - 1
    last = np.maximum(counts - 2, first)
    return np.minimum(first[:, None] + np.arange(room), last[:, None]).astype(np.int32)


def targets_of(tokens: np.ndarray, wanted: np.ndarray, prompts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The token behind each place `wanted` [B, W] of `tokens` [B, T], int64 [B, W]; -1 behind the answers, see `wanted_of`."""
    following = np.take_along_axis(tokens, wanted + 1, axis=1).astype(np.int64)
    answers = counts - np.maximum(prompts, 1)
    return np.where(np.arange(wanted.shape[1]) < answers[:, None], following, NONE)
