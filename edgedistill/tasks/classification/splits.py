"""Which samples train, which decide, and which are scored once: drawn within each class."""

from collections.abc import Callable

import numpy as np

from edgedistill.errors import UserError
from edgedistill.recipe.data import MAIN, Member
from edgedistill.tasks.sets import divided


def assign_splits(
    labels: np.ndarray,
    split: np.ndarray,
    classes: list[str],
    fractions: tuple[float, float],
    seed: int,
    *,
    named: Callable[[int], str],
    sample: str,
    group: str = "class",
) -> np.ndarray:
    """The split of each sample, int8 [N]: the data's own, completed within each class by `seed`.

    labels: int64 [N], -1 for none. split: int [N], -1 where the data says nothing. fractions: shares of val and holdout. named: what to
    call a sample in a message, and sample: what one is, such as "image". group: what classes are called.

    A split that the data lacks is drawn from its training samples; data without any split is divided whole. Samples without a label
    only train; UserError where the data's own split has one in val or holdout.
    """
    stray = np.flatnonzero((labels < 0) & (split > 0)).tolist()
    if stray:
        first = "; ".join(named(i) for i in stray[:5])
        raise UserError(f"{len(stray)} {sample}(s) of val or holdout have no label, which both need: {first}")
    split = np.where(split < 0, 0, split).astype(np.int8)
    rng = np.random.default_rng(seed)
    missing_splits = [(number, share) for number, share in zip((1, 2), fractions, strict=True) if share and not (split == number).any()]
    # Samples without labels are divided as if they were of one class.
    for label, name in enumerate(classes) if classes else [(-1, "without a label")]:
        pool = rng.permutation(np.flatnonzero((labels == label) & (split == 0)))
        taken = 0
        for number, share in missing_splits:
            size = max(1, round(share * len(pool)))
            split[pool[taken : taken + size]] = number
            taken += size
        if len(pool) <= taken:
            raise UserError(
                f"{group} '{name}' has {len(pool)} {sample}(s) to divide, expected at least {len(missing_splits) + 1}: "
                f"one each for train, val and holdout. Add {sample}s or remove the {group}."
            )
    return split


def assign_splits_of_sets(
    members: list[Member], sets: np.ndarray | None, labels: np.ndarray, split: np.ndarray, classes: list[str], seed: int, *,
    named: Callable[[int], str], sample: str,
) -> np.ndarray:  # fmt: skip
    """The same of the samples of several `members`: those of the data within each class, and those of each set as if of one class.

    A small set has not every class in every split. sets: the name of each sample's member, [N], or None where there is one.
    """

    def draw(member: Member, rows: np.ndarray, own: np.ndarray) -> np.ndarray:
        assert member.fractions is not None
        told = {"named": lambda row: named(int(rows[row])), "sample": sample}
        if member.name == MAIN:
            return assign_splits(labels[rows], own, classes, member.fractions, seed, **told)  # type: ignore[arg-type]
        labelled = (labels[rows] >= 0).any()
        fractions = member.fractions if labelled or not classes else (0.0, 0.0)
        one = np.minimum(labels[rows], 0)
        return assign_splits(one, own, [member.name] if labelled else [], fractions, seed, group="set", **told)  # type: ignore[arg-type]

    done = divided(members, sets, split, draw)
    if stray := np.flatnonzero((labels < 0) & (done > 0)).tolist() if classes else []:
        raise UserError(f"{len(stray)} {sample}(s) of the holdout have no label, which it needs: {'; '.join(map(named, stray[:5]))}")
    return done
