"""Finds the same image, or nearly the same, in two splits or under two classes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from edgedistill.tasks.data import SPLITS

_SIDE = 16
_MAX_BITS, _MAX_DIFFERENCE = 6, 1.5
"""Nearly the same images differ in at most so many of 256 comparisons, and by so many of 255 levels in the mean. Another size, brightness
or compression changes 6 and 0.5 at most (200 random images); of 1,797 handwritten digits no two are that near."""
_MAX_BUCKET = 64
"""Images that share a part of the hash with more others than that are not compared: an empty border says nothing."""
_SHOWN = 3
_ROWS, _PAIRS = 2**16, 2**12
"""Rows of fingerprints, and pairs of images, that are in memory at once."""


class Fingerprint(NamedTuple):
    """What of an image is compared: the hash of its pixels, and how it looks."""

    exact: np.ndarray
    """The hash of the pixels, uint64 [2]."""
    bits: np.ndarray
    """Whether each pixel of a small grey version is brighter than its left neighbour, packed, uint8 [32]."""
    grey: np.ndarray
    """The small grey version, uint8 [16, 17]."""


COLUMNS: Mapping[str, tuple[str, tuple[int, ...]]] = {"exact": ("<u8", (2,)), "bits": ("u1", (32,)), "grey": ("u1", (_SIDE, _SIDE + 1))}
"""Type and shape of each part of a fingerprint, whose arrays [N, ...] `findings` reads."""


def hashed(pixels: np.ndarray) -> np.ndarray:
    """The hash of the pixels of an image, uint64 [2]."""
    return np.frombuffer(hashlib.blake2b(pixels.tobytes(), digest_size=16).digest(), "<u8")


def fingerprint(pixels: np.ndarray) -> Fingerprint:
    """The fingerprint of an image uint8 [3, S, S].

    The comparison of neighbours is the difference hash: N. Krawetz, "Kind of Like That", hackerfactor.com, 2013.
    """
    from PIL import Image

    grey = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))).convert("L")
    values = np.asarray(grey.resize((_SIDE + 1, _SIDE), Image.Resampling.BILINEAR))
    bits = np.packbits(values[:, 1:] > values[:, :-1])
    return Fingerprint(hashed(pixels), bits, values)


def findings(prints: Mapping[str, np.ndarray], split: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> list[str]:
    """A sentence for each kind of trap: what is in train and in val or holdout, and what has two labels. split, labels: [N].

    prints: the parts of all fingerprints, see `COLUMNS`. A part of their rows is in memory at a time.
    """
    sentences = []
    for kind, find in (("the same", _equal), ("nearly the same", _near)):
        marks = _Marks(split, labels)
        find(prints, marks)
        for name, found in marks.seen.items():
            sentences += _sentence(found, names, f"of {name} {{are}} {kind} as one of train")
        sentences += _sentence(marks.double, names, f"{{stand}} under two classes, where the images are {kind}")
    return sentences


class _Marks:
    """Images that are a finding, as bool [N]: in val or holdout as in train, by split; and under another class than a later one."""

    def __init__(self, split: np.ndarray, labels: np.ndarray) -> None:
        self.split, self.labels = split, labels
        self.seen = {name: np.zeros(len(split), bool) for name in SPLITS[1:]}
        self.double = np.zeros(len(split), bool)

    def matters(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Whether each pair of images would be a finding if they were alike, bool [n]; a, b: int [n]."""
        return ((self.split[a] == 0) != (self.split[b] == 0)) | self._contradict(a, b)

    def add(self, a: np.ndarray, b: np.ndarray) -> None:
        """Mark the pairs of images a and b [n] that are alike; b come later."""
        for one, other in ((a, b), (b, a)):
            for number, name in enumerate(SPLITS[1:], 1):
                self.seen[name][other[(self.split[one] == 0) & (self.split[other] == number)]] = True
        self.double[a[self._contradict(a, b)]] = True

    def _contradict(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        first, second = self.labels[a], self.labels[b]
        return (first >= 0) & (second >= 0) & (first != second)


def _parts(counts: np.ndarray) -> Iterator[tuple[int, int]]:
    """Ranges of the values 0 to n, such that `counts` [n] sums up to about `_ROWS` in each."""
    sums = np.cumsum(counts)
    cuts = np.unique([0, *np.searchsorted(sums, np.arange(_ROWS, sums[-1], _ROWS), side="right"), len(counts)])
    yield from zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True)


def _chunks(count: int) -> Iterator[slice]:
    for start in range(0, count, _ROWS):
        yield slice(start, min(start + _ROWS, count))


def _counts(rows: np.ndarray, key: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """How often each value of a 16-bit key of rows is there, int [65536]."""
    counts = np.zeros(2**16, np.int64)
    for chunk in _chunks(len(rows)):
        counts += np.bincount(key(rows[chunk]), minlength=2**16)
    return counts


def _picked(rows: np.ndarray, key: Callable[[np.ndarray], np.ndarray], wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers and content of the rows for whose 16-bit key `wanted` [65536] is true."""
    numbers, values = [], []
    for chunk in _chunks(len(rows)):
        part = rows[chunk]
        taken = np.flatnonzero(wanted[key(part)])
        numbers.append(taken + chunk.start)
        values.append(part[taken])
    return np.concatenate(numbers), np.concatenate(values)


def _equal(prints: Mapping[str, np.ndarray], marks: _Marks) -> None:
    """Mark images with equal pixels; of more than 64 equal ones, each is held to the first 64."""
    exact = prints["exact"]
    if not len(exact):
        return

    def key(rows: np.ndarray) -> np.ndarray:
        return (rows[:, 0] >> np.uint64(48)).astype(np.int64)

    for low, high in _parts(_counts(exact, key)):
        numbers, hashes = _picked(exact, key, _within(low, high))
        order = np.lexsort((numbers, hashes[:, 1], hashes[:, 0]))
        numbers, hashes = numbers[order], hashes[order]
        starts = np.flatnonzero(np.r_[True, (hashes[1:] != hashes[:-1]).any(axis=1)])
        stops = np.r_[starts[1:], len(numbers)]
        several = stops - starts > 1
        for start, stop in zip(starts[several].tolist(), stops[several].tolist(), strict=True):
            group = numbers[start:stop]
            if not (np.ptp(marks.split[group]) or np.ptp(marks.labels[group])):
                continue
            # Images without any contrast are no finding.
            if prints["bits"][int(group[0])].any():
                for place, a in enumerate(group[:_MAX_BUCKET]):
                    marks.add(np.full(len(group) - place - 1, a), group[place + 1 :])


def _near(prints: Mapping[str, np.ndarray], marks: _Marks) -> None:
    """Mark images that look alike, and whose pixels are not equal."""
    bits = prints["bits"]
    # Two hashes that differ in few bits have one of their parts in common.
    for part in range(_SIDE if len(bits) else 0):

        def key(rows: np.ndarray, part: int = part) -> np.ndarray:
            return rows[:, 2 * part].astype(np.int64) << 8 | rows[:, 2 * part + 1]

        counts = _counts(bits, key)
        shared = (counts > 1) & (counts <= _MAX_BUCKET)
        shared[0] = False
        for low, high in _parts(counts * shared):
            wanted = shared & _within(low, high)
            if not wanted.any():
                continue
            numbers, hashes = _picked(bits, key, wanted)
            keys = key(hashes)
            order = np.argsort(keys, kind="stable")
            numbers, keys, words = numbers[order], keys[order], hashes[order].view(np.uint64)
            for distance in range(1, _MAX_BUCKET):
                first = np.flatnonzero(keys[:-distance] == keys[distance:])
                if not len(first):
                    break
                first = first[marks.matters(numbers[first], numbers[first + distance])]
                near = np.bitwise_count(words[first] ^ words[first + distance]).sum(axis=1) <= _MAX_BITS
                first = first[near]
                _compare(prints, marks, numbers[first], numbers[first + distance])


def _within(low: int, high: int) -> np.ndarray:
    values = np.arange(2**16)
    return (values >= low) & (values < high)


def _compare(prints: Mapping[str, np.ndarray], marks: _Marks, a: np.ndarray, b: np.ndarray) -> None:
    """Mark those of the pairs a and b [n] of which the small grey versions are alike as well."""
    for chunk in range(0, len(a), _PAIRS):
        one, other = a[chunk : chunk + _PAIRS], b[chunk : chunk + _PAIRS]
        differ = (prints["exact"][one] != prints["exact"][other]).any(axis=1)
        one, other = one[differ], other[differ]
        greys = [prints["grey"][numbers].astype(np.float32) for numbers in (one, other)]
        first, second = (grey - grey.mean(axis=(1, 2), keepdims=True) for grey in greys)
        alike = np.abs(first - second).mean(axis=(1, 2)) <= _MAX_DIFFERENCE
        marks.add(one[alike], other[alike])


def _sentence(marked: np.ndarray, names: Sequence[str], rest: str) -> list[str]:
    found = np.flatnonzero(marked)
    if not len(found):
        return []
    one, first = len(found) == 1, found[:_SHOWN].tolist()
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    words = rest.format(are="is" if one else "are", stand="stands" if one else "stand")
    return [f"{len(found)} {'image' if one else 'images'} {words}: {', '.join(names[i] for i in first)}{more}"]
