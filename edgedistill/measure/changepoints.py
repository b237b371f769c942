"""Finds changepoints: lasting changes in the level of a series, as opposed to its noise."""

from itertools import pairwise

import numpy as np

_MAX_CHANGES = 4
_MIN_LENGTH = 5
_RESOLVED = 600

Piece = tuple[int, int]


def trends(values: np.ndarray, min_change: float) -> tuple[np.ndarray, list[Piece]]:
    """The trend of `values` [n] as a level or a line for each piece, and the pieces in order. Values minus trend are noise.

    Circular binary segmentation: it cuts out a stretch that differs from its surroundings by `min_change` or more, up to four times. Each
    cut must explain a quarter of the remaining variance, or more in a short series. So few changes cannot explain noise.
    Source: Olshen, Venkatraman, Lucito and Wigler, Circular binary segmentation for the analysis of array-based DNA copy number data,
    Biostatistics 5 (2004); its test is replaced by the share of variance, since the noise is not independent.
    """
    n = len(values)
    pieces: list[Piece] = [(0, n)]
    worth = max(0.25, min(0.6, 60 / n))
    for _ in range(_MAX_CHANGES):
        whole = sum(_error(values, *piece) for piece in pieces)
        cuts = [(piece, cut) for piece in pieces if (cut := _best_cut(values, *piece, min_change))]
        gains = [_error(values, *piece) - sum(_error(values, *part) for part in cut) for piece, cut in cuts]
        if not gains or max(gains) < worth * whole:
            break
        piece, cut = cuts[int(np.argmax(gains))]
        pieces = sorted({*pieces, *cut} - {piece})
    return np.concatenate([_fit(values, *piece) for piece in pieces]), pieces


def _best_cut(values: np.ndarray, start: int, end: int, min_change: float) -> list[Piece]:
    """The two or three parts of values[start:end] that differ most; none where it is too short or they differ by less than `min_change`."""
    n = end - start
    if n < 2 * _MIN_LENGTH:
        return []
    # In a long run the places are looked for in steps: the pairs grow with the square.
    places = np.unique(np.append(np.arange(0, n, -(-n // _RESOLVED)), n))
    sums = np.append(0, np.cumsum(values[start:end]))[places]
    length = places[None, :] - places[:, None]
    allowed = (length >= _MIN_LENGTH) & (length <= n - _MIN_LENGTH)
    # A part at an edge that is too short would be none.
    edges = (places == 0) | (places >= _MIN_LENGTH), (places == n) | (places <= n - _MIN_LENGTH)
    allowed &= edges[0][:, None] & edges[1][None, :]
    inside = np.where(allowed, length, 1)
    gains = np.where(allowed, (sums[None, :] - sums[:, None] - inside * sums[-1] / n) ** 2 * n / (inside * np.maximum(n - inside, 1)), -1.0)
    best = np.unravel_index(int(np.argmax(gains)), gains.shape)
    within, rest = int(inside[best]), n - int(inside[best])
    total = float(sums[best[1]] - sums[best[0]])
    if rest == 0 or abs(total / within - (float(sums[-1]) - total) / rest) < min_change:
        return []
    first, last = (int(places[i]) for i in best)
    bounds = [0, first, last, n]
    return [(start + a, start + b) for a, b in pairwise(bounds) if b > a]


def _fit(values: np.ndarray, start: int, end: int) -> np.ndarray:
    """The mean of values[start:end], or their least-squares line where it leaves less than half of the squares: a drift."""
    part = values[start:end]
    t = np.arange(end - start) - (end - start - 1) / 2
    flat = np.full(end - start, part.mean())
    line = flat + t * (float(t @ part) / float(t @ t) if end - start > 1 else 0.0)
    return line if np.sum((part - line) ** 2) < 0.5 * np.sum((part - flat) ** 2) else flat


def _error(values: np.ndarray, start: int, end: int) -> float:
    return float(np.sum((values[start:end] - _fit(values, start, end)) ** 2))
