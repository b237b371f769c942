"""Divides the samples of several sets into train, val and holdout, each set by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from edgedistill.tasks.data import SPLITS

if TYPE_CHECKING:
    import numpy as np

    from edgedistill.recipe.data import Member

Draw = Callable[["Member", "np.ndarray", "np.ndarray"], "np.ndarray"]


def divided(members: Sequence[Member], sets: np.ndarray | None, split: np.ndarray, draw: Draw) -> np.ndarray:
    """The split of each sample, int8 [N]: that of a holdout of its own, and what `draw` gives for the samples of each other member.

    sets: the name of each sample's member, [N]; None where there is one member. split: int8 [N], -1 where the data does not say it.
    draw: gives the split of the samples with the numbers [n] of a member, from what the data say of them [n].
    """
    import numpy as np

    done = np.array(split, np.int8)
    for member in members:
        rows = np.arange(len(split)) if sets is None else np.flatnonzero(sets == member.name)
        done[rows] = SPLITS.index("holdout") if member.fractions is None else draw(member, rows, split[rows])
    return done
