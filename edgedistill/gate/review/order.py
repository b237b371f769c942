"""Which pair a reviewer sees when, and on which side each answer stands: a function of the seed and the reviewer's name alone."""

from __future__ import annotations

import hashlib
from typing import NamedTuple


class Place(NamedTuple):
    """A pair as one reviewer sees it."""

    pair: int
    candidate_first: bool
    """Whether the candidate's answer is A."""


def order(seed: int, reviewer: str, count: int) -> list[Place]:
    """The places of the pairs 0 to count - 1 for a reviewer; the candidate is A in half of them, so that a habit favours nobody."""
    shown = sorted(range(count), key=lambda pair: _number(seed, reviewer, "place", pair))
    first = set(sorted(range(count), key=lambda pair: _number(seed, reviewer, "side", pair))[: count // 2])
    return [Place(pair, pair in first) for pair in shown]


def _number(seed: int, reviewer: str, what: str, pair: int) -> bytes:
    # A hash, since the generators of libraries may change between versions.
    return hashlib.sha256(f"{seed}\0{what}\0{pair}\0{reviewer}".encode()).digest()
