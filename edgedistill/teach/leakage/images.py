"""Finds images that stand in another set of images as well: the same, nearly the same, or as a crop.

Each image becomes a small grey one. Parts of it, and the whole, are compared by the correlation of 8 x 8 means, which is one product of
matrices for many pairs; those that are alike are aligned and compared in 24 x 24 means and in their differences, so that two smooth images
are not the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from edgedistill.teach.leakage.found import NEAR, NOTHING, PART, SAME, Found

LEAST_SIDE = 64
"""Pixels of the shorter side from which crops are looked for: every small image looks like a part of another."""
_SIDE, _COARSE, _FINE = 64, 8, 24
_SCALES, _STEP = (0.9, 0.8, 0.7, 0.6, 0.5), 0.1
"""Sides of crops, as shares of those of the whole, and the distance between two of them."""
_CANDIDATE = 0.7
"""Least correlation of the coarse means of images that are worth a closer look."""
_WHOLE_LEAST, _CROP_LEAST, _BUSY_LEAST = (0.99, 0.97), (0.98, 0.92), (0.9, 0.75)
"""Least correlations of the fine means, and of the differences of neighbours among them, of whole images and of aligned crops; the last of
crops with many edges, whose pixels never fall on those of the whole."""
_BUSY = 0.1
"""Least share of places that have the differences: (sum of squares)^2 / sum of fourth powers, by the number of places. One straight edge is
in many images."""
_MOVES = (0.05, 0.05, 0.025, 0.0125, 0.00625)
"""How far a crop is moved and stretched to align it, as shares of the whole, one after the other."""
_SMOOTH_LEAST, _MAX_DIFFERENCE = 0.9, 1.5
"""Or least correlation of the fine means, and levels of 255 by which they differ in the mean: smooth images have no edges but noise."""
_CONTRAST, _SLOPE = 2.0, 0.25
"""Least standard deviation of grey values, and of their differences, in levels: a blank image is a part of everything."""
_TRIED = 2
"""Crops are aligned with so many of the images that are most alike."""
MOST_PAIRS = 2e6
"""Pairs of images among which a run looks for crops; more of them would take minutes."""
_ROWS, _VALUES = 64, 2**22
"""Images, and correlations, that are in memory at once."""


class _Prints(NamedTuple):
    """What is compared of n images."""

    exact: np.ndarray
    """The hash of shape and pixels, uint64 [n, 2]."""
    grey: np.ndarray
    """The small grey images, uint8 [n, 64, 64]."""
    large: np.ndarray
    """Whether each is large enough for crops, bool [n]."""


def _prints(images: Iterable[np.ndarray]) -> _Prints:
    """Those of images uint8 [H, W, 3]."""
    from PIL import Image

    exact, grey, large = [], [], []
    for pixels in images:
        told = str(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes()
        exact.append(np.frombuffer(hashlib.blake2b(told, digest_size=16).digest(), "<u8"))
        small = Image.fromarray(np.ascontiguousarray(pixels)).convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX)
        grey.append(np.asarray(small))
        large.append(min(pixels.shape[:2]) >= LEAST_SIDE)
    return _Prints(np.array(exact).reshape(-1, 2), np.array(grey, np.uint8).reshape(-1, _SIDE, _SIDE), np.array(large, bool))


def _boxes() -> np.ndarray:
    """The crops that are tried: left, top, width and height as shares of the whole, float64 [b, 4]; one side may be whole."""
    sizes = [(scale, scale) for scale in _SCALES] + [size for scale in _SCALES for size in ((1.0, scale), (scale, 1.0))]
    places = [np.linspace(0, 1 - side, round((1 - side) / _STEP) + 1) for size in sizes for side in size]
    pairs = zip(sizes, zip(places[::2], places[1::2], strict=True), strict=True)
    return np.array([(x, y, *size) for size, (xs, ys) in pairs for x in xs for y in ys])


def _means(start: np.ndarray, size: np.ndarray, cells: int) -> np.ndarray:
    """What makes the means of `cells` equal pieces of each range of 64 pixels, float32 [n, cells, 64]; start, size: shares, [n]."""
    edges = (start[:, None] + size[:, None] * np.linspace(0, 1, cells + 1)) * _SIDE
    pixel = np.arange(_SIDE)
    low, high = edges[:, :-1, None], edges[:, 1:, None]
    covered = (np.minimum(high, pixel + 1) - np.maximum(low, pixel)).clip(0)
    return (covered / np.maximum(covered.sum(axis=2, keepdims=True), 1e-9)).astype(np.float32)


def _normed(values: np.ndarray, least: float = _CONTRAST) -> np.ndarray:
    """Rows [..., m] with the mean 0 and the length 1; those whose standard deviation is smaller than `least` are 0."""
    centred = values - values.mean(axis=-1, keepdims=True)
    length = np.linalg.norm(centred, axis=-1, keepdims=True)
    return np.where(length >= least * np.sqrt(values.shape[-1]), centred / np.maximum(length, 1e-9), 0).astype(np.float32)


def _cut(grey: np.ndarray, boxes: np.ndarray, cells: int) -> np.ndarray:
    """Means of the part box[i] of image i, float32 [n, cells, cells]."""
    across, down = _means(boxes[:, 0], boxes[:, 2], cells), _means(boxes[:, 1], boxes[:, 3], cells)
    return down @ grey.astype(np.float32) @ across.transpose(0, 2, 1)


def _coarse(grey: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """The normed coarse means of all `boxes` of all images, float32 [n, b, 64]."""
    across, down = _means(boxes[:, 0], boxes[:, 2], _COARSE), _means(boxes[:, 1], boxes[:, 3], _COARSE)
    cut = down[None] @ grey[:, None].astype(np.float32) @ across[None].transpose(0, 1, 3, 2)
    return _normed(cut.reshape(len(grey), len(boxes), _COARSE**2))


_WHOLE = np.array([[0.0, 0.0, 1.0, 1.0]])


def _correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The correlation of fine means [..., 24, 24], [...]."""
    ours, theirs = (_normed(it.reshape(*it.shape[:-2], _FINE**2)) for it in (first, second))
    return (ours * theirs).sum(axis=-1)


def _likeness(first: np.ndarray, second: np.ndarray, *, crop: bool) -> np.ndarray:
    """The correlation of fine means [n, 24, 24], [n]; 0 for those that are not alike. crop: one is an aligned part of a larger image."""
    alike, ours, theirs = _correlation(first, second), _slopes(first), _slopes(second)
    edges = (_normed(ours, _SLOPE) * _normed(theirs, _SLOPE)).sum(axis=-1)
    least = _CROP_LEAST if crop else _WHOLE_LEAST
    accepted = (alike >= least[0]) & (edges >= least[1])
    if crop:
        busy = np.minimum(_spread(ours), _spread(theirs)) >= _BUSY
        return np.where(accepted | busy & (alike >= _BUSY_LEAST[0]) & (edges >= _BUSY_LEAST[1]), alike, 0)
    difference = np.abs(first - second - (first - second).mean(axis=(1, 2), keepdims=True)).mean(axis=(1, 2))
    return np.where(accepted | (alike >= _SMOOTH_LEAST) & (difference <= _MAX_DIFFERENCE), alike, 0)


def _slopes(images: np.ndarray) -> np.ndarray:
    """The differences of neighbours in fine means [n, 24, 24], [n, 2 * 23 * 24]."""
    parts = [np.diff(images, axis=axis).reshape(len(images), _FINE * (_FINE - 1)) for axis in (-1, -2)]
    return np.concatenate(parts, axis=-1)


def _spread(slopes: np.ndarray) -> np.ndarray:
    """See `_BUSY`, [n]."""
    energy = slopes**2
    return energy.sum(axis=-1) ** 2 / np.maximum((energy**2).sum(axis=-1) * slopes.shape[-1], 1e-9)


def _aligned(whole: np.ndarray, boxes: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """How alike the images `parts` [n] are to the parts near `boxes` [n, 4] of the images `whole` [n]; 0 for those that are not."""
    wanted = _cut(parts, np.repeat(_WHOLE, len(parts), axis=0), _FINE)
    moves = np.array([(x, y, s) for x in (-1, 0, 1) for y in (-1, 0, 1) for s in (-1, 0, 1)], np.float64)
    for step in _MOVES:
        tried = np.repeat(boxes[:, None], len(moves), axis=1)
        # The centre moves, and the sides grow together.
        tried[..., 2:] = (tried[..., 2:] * (1 + step * moves[None, :, 2:])).clip(0.3, 1)
        tried[..., :2] += step * moves[None, :, :2] + (boxes[:, None, 2:] - tried[..., 2:]) / 2
        tried[..., :2] = np.clip(tried[..., :2], 0, 1 - tried[..., 2:])
        cut = _cut(np.repeat(whole, len(moves), axis=0), tried.reshape(-1, 4), _FINE).reshape(len(parts), len(moves), _FINE, _FINE)
        boxes = tried[np.arange(len(parts)), _correlation(cut, wanted[:, None]).argmax(axis=1)]
    return _likeness(_cut(whole, boxes, _FINE), wanted, crop=True)


class ImageIndex:
    """The kept images, in which others are looked up. Memory holds 5 KB of each, and 33 KB more of those in which crops are looked for.

    most_pairs: of more pairs of images no crops are looked for.
    """

    def __init__(self, parts: Iterable[Sequence[np.ndarray]], most_pairs: float = MOST_PAIRS) -> None:
        made = [_prints(part) for part in parts] or [_prints([])]
        self._prints = _Prints(*(np.concatenate(values) for values in zip(*made, strict=True)))
        self.count = len(self._prints.exact)
        self._whole = _coarse(self._prints.grey, _WHOLE)[:, 0]
        self._known = {tuple(row): number for number, row in reversed([*enumerate(self._prints.exact.tolist())])}
        self._tried, self._most_pairs = 0, most_pairs

    @cached_property
    def _crops(self) -> tuple[np.ndarray, np.ndarray]:
        """The coarse means of all crops of kept images, float32 [m, 64], and the number of the image of each."""
        large = np.flatnonzero(self._prints.large)
        rows = [_coarse(self._prints.grey[large[start : start + _ROWS]], _BOXES) for start in range(0, len(large), _ROWS)]
        return np.concatenate([part.reshape(-1, _COARSE**2) for part in rows]) if rows else np.zeros((0, 64), np.float32), large

    def find(self, parts: Iterable[Sequence[np.ndarray]]) -> Found:
        """Which of the images are alike to a kept one."""
        found, row = [NOTHING], 0
        for part in parts:
            for start in range(0, len(part), _ROWS):
                prints = _prints(part[start : start + _ROWS])
                found += [it._replace(samples=it.samples + row) for it in self._found(prints)]
                row += len(prints.exact)
        return Found.best(found)

    @property
    def searches_crops(self) -> bool:
        """Whether there were few enough images to look for crops in all of them."""
        return self._tried <= self._most_pairs

    def _found(self, prints: _Prints) -> Iterator[Found]:
        if not self.count:
            return
        same = np.array([self._known.get(tuple(row), -1) for row in prints.exact.tolist()])
        places = np.flatnonzero(same >= 0)
        yield Found(places, same[places], np.full(len(places), SAME, np.int8), np.ones(len(places), np.float32))
        coarse = _coarse(prints.grey, _WHOLE)[:, 0]
        a, _, b = _most_alike(coarse, self._whole)
        whole = np.repeat(_WHOLE, len(a), axis=0)
        likeness = _likeness(_cut(prints.grey[a], whole, _FINE), _cut(self._prints.grey[b], whole, _FINE), crop=False)
        yield _as_found(a, b, NEAR, likeness)
        large = np.flatnonzero(prints.large & (same < 0))
        self._tried += len(large) * int(self._prints.large.sum())
        if not len(large) or not self.searches_crops:
            return
        crops, images = self._crops
        if not len(images):
            return
        # The image may be a crop of a kept one, or a kept one a crop of it.
        a, _, at = _most_alike(coarse[large], crops)
        kept, box = images[at // len(_BOXES)], _BOXES[at % len(_BOXES)]
        yield _as_found(large[a], kept, PART, _aligned(self._prints.grey[kept], box, prints.grey[large[a]]))
        own = _coarse(prints.grey[large], _BOXES).reshape(-1, _COARSE**2)
        a, number, at = _most_alike(own, self._whole[images], len(_BOXES))
        kept = images[at]
        yield _as_found(large[a], kept, PART, _aligned(prints.grey[large[a]], _BOXES[number], self._prints.grey[kept]))


_BOXES = _boxes()


def _most_alike(rows: np.ndarray, others: np.ndarray, group: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each `group` of `rows` [n * group, 64] the two of `others` [m, 64] that are most alike, where they are worth a closer look.

    Returns the number of the group, that of the row in it, and the place of the other, [k] each.
    """
    correlation, places = np.full((len(rows), _TRIED), -1.0, np.float32), np.zeros((len(rows), _TRIED), np.int64)
    step = max(_TRIED, _VALUES // len(rows))
    for start in range(0, len(others), step):
        part = rows @ others[start : start + step].T
        best = np.argpartition(part, -min(_TRIED, part.shape[1]), axis=1)[:, -_TRIED:]
        both = np.concatenate([correlation, np.take_along_axis(part, best, axis=1)], axis=1)
        numbers = np.concatenate([places, best + start], axis=1)
        order = np.argsort(-both, axis=1)[:, :_TRIED]
        correlation, places = np.take_along_axis(both, order, axis=1), np.take_along_axis(numbers, order, axis=1)
    correlation, places = correlation.reshape(-1, group * _TRIED), places.reshape(-1, group * _TRIED)
    order = np.argsort(-correlation, axis=1)[:, :_TRIED]
    numbers, column = np.nonzero(np.take_along_axis(correlation, order, axis=1) >= _CANDIDATE)
    chosen = order[numbers, column]
    return numbers, chosen // _TRIED, places[numbers, chosen]


def _as_found(samples: np.ndarray, kept: np.ndarray, kind: int, likeness: np.ndarray) -> Found:
    places = np.flatnonzero(likeness > 0)
    return Found(samples[places], kept[places], np.full(len(places), kind, np.int8), likeness[places].astype(np.float32))
