"""Finds the same image, or nearly the same, in two splits or under two classes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
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


class Fingerprint(NamedTuple):
    """What of an image is compared: the hash of its pixels, and how it looks."""

    exact: bytes
    bits: np.ndarray
    """Whether each pixel of a small grey version is brighter than its left neighbour, packed, uint8 [32]."""
    grey: np.ndarray
    """The small grey version, uint8 [16, 17]."""


def fingerprint(pixels: np.ndarray) -> Fingerprint:
    """The fingerprint of an image uint8 [3, S, S].

    The comparison of neighbours is the difference hash: N. Krawetz, "Kind of Like That", hackerfactor.com, 2013.
    """
    from PIL import Image

    grey = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))).convert("L")
    values = np.asarray(grey.resize((_SIDE + 1, _SIDE), Image.Resampling.BILINEAR))
    bits = np.packbits(values[:, 1:] > values[:, :-1])
    return Fingerprint(hashlib.blake2b(pixels.tobytes(), digest_size=16).digest(), bits, values)


def findings(prints: Sequence[Fingerprint], split: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> list[str]:
    """A sentence for each kind of trap: what is in train and in val or holdout, and what has two labels. split, labels: [N]."""
    sentences = []
    for kind, pairs in (("the same", _equal(prints)), ("nearly the same", _near(prints))):
        seen: dict[str, set[int]] = {name: set() for name in SPLITS[1:]}
        double: set[int] = set()
        for a, b in pairs:
            for one, other in ((a, b), (b, a)):
                if split[one] == 0 and split[other] > 0:
                    seen[SPLITS[split[other]]].add(other)
            if min(labels[a], labels[b]) >= 0 and labels[a] != labels[b]:
                double.add(a)
        for name, found in seen.items():
            sentences += _sentence(found, names, f"of {name} {{are}} {kind} as one of train")
        sentences += _sentence(double, names, f"{{stand}} under two classes, where the images are {kind}")
    return sentences


def _equal(prints: Sequence[Fingerprint]) -> Iterator[tuple[int, int]]:
    """Pairs of images with equal pixels; of more than 64 equal ones, the first 64 with each of the others."""
    groups: dict[bytes, list[int]] = {}
    for index, one in enumerate(prints):
        groups.setdefault(one.exact, []).append(index)
    for group in groups.values():
        # Images without any contrast are no finding.
        if len(group) > 1 and any(prints[group[0]].bits):
            yield from ((a, b) for place, a in enumerate(group[:_MAX_BUCKET]) for b in group[place + 1 :])


def _near(prints: Sequence[Fingerprint]) -> Iterator[tuple[int, int]]:
    """Pairs of images that look alike, and whose pixels are not equal."""
    if not prints:
        return
    bits = np.stack([one.bits for one in prints])
    # Two hashes that differ in few bits have one of their parts in common.
    parts = bits.view(np.uint16)
    tried: set[tuple[int, int]] = set()
    for column in parts.T:
        order = np.argsort(column, kind="stable")
        starts = np.flatnonzero(np.diff(column[order], prepend=-1))
        for start, stop in zip(starts, [*starts[1:], len(order)], strict=True):
            if 1 < stop - start <= _MAX_BUCKET and column[order[start]]:
                bucket = order[start:stop].tolist()
                tried.update((a, b) for place, a in enumerate(bucket) for b in bucket[place + 1 :])
    for a, b in sorted(tried):
        if prints[a].exact != prints[b].exact and int(np.bitwise_count(bits[a] ^ bits[b]).sum()) <= _MAX_BITS:
            greys = [prints[i].grey.astype(np.float32) for i in (a, b)]
            if np.abs((greys[0] - greys[0].mean()) - (greys[1] - greys[1].mean())).mean() <= _MAX_DIFFERENCE:
                yield a, b


def _sentence(found: set[int], names: Sequence[str], rest: str) -> list[str]:
    if not found:
        return []
    one, first = len(found) == 1, sorted(found)[:_SHOWN]
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    words = rest.format(are="is" if one else "are", stand="stands" if one else "stand")
    return [f"{len(found)} {'image' if one else 'images'} {words}: {', '.join(names[i] for i in first)}{more}"]
