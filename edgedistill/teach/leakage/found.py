"""What was found: samples that stand in a set that is kept as well."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Self

import numpy as np

SAME, NEAR, PART = 0, 1, 2
KINDS = ("same", "near", "part")
"""Equal in their normal form; nearly the same; a part of the other, such as a crop."""


class Found(NamedTuple):
    """Samples with one that is alike in the kept set, the best one of each; arrays [n]."""

    samples: np.ndarray
    """Their numbers, int64, rising."""
    kept: np.ndarray
    """Numbers of the kept samples that are alike, int64."""
    kinds: np.ndarray
    """Places in `KINDS`, int8."""
    likeness: np.ndarray
    """How alike they are, 1 for the same; float32."""

    @classmethod
    def best(cls, pairs: Iterable[Self]) -> Self:
        """Of all pairs the best one of each sample: the same before nearly the same before a part, and then the most alike."""
        samples, kept, kinds, likeness = (np.concatenate(part) for part in zip(*pairs, strict=True))
        order = np.lexsort((kept, -likeness, kinds, samples))
        first = order[np.flatnonzero(np.diff(samples[order], prepend=-1))]
        return cls(samples[first], kept[first], kinds[first], likeness[first])


NOTHING = Found(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int8), np.zeros(0, np.float32))
