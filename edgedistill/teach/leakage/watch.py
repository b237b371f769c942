"""Looks in a set of samples for those that another set keeps, and in the splits of a run for those that a later split keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import numpy as np

from edgedistill.errors import UserError
from edgedistill.progress import log
from edgedistill.records.leakage import Alike, Leakage, Overlap, SplitOverlap
from edgedistill.tasks.data import SPLITS, UNUSED
from edgedistill.teach.leakage.found import KINDS, Found
from edgedistill.teach.leakage.images import MOST_PAIRS, ImageIndex
from edgedistill.teach.leakage.texts import TextIndex

Kind = Literal["texts", "images"]
Parts = Callable[[], Iterator[Any]]
"""Gives all samples, a part at a time, whenever it is called."""
_SHOWN = 20


def overlap(kind: Kind, samples: Parts, kept: Parts, most_pairs: float = MOST_PAIRS) -> tuple[Overlap, Found]:
    """Which of `samples` are alike to one of `kept`; of more than `most_pairs` pairs of images no crops are looked for."""
    index = TextIndex(kept()) if kind == "texts" else ImageIndex(kept(), most_pairs)
    count = 0

    def counted() -> Iterator[Sequence[Any]]:
        nonlocal count
        for part in samples():
            count += len(part)
            yield part

    found = index.find(counted())
    counts = {name: int((found.kinds == number).sum()) for number, name in enumerate(KINDS)}
    searched = isinstance(index, TextIndex) or index.searches_crops
    return Overlap(samples=count, kept=index.count, parts=searched, examples=examples(found), **counts), found


def examples(found: Found) -> list[Alike]:
    """The first samples that were found."""
    rows = zip(*(values[:_SHOWN].tolist() for values in found), strict=True)
    return [Alike(sample=a, kept=b, kind=KINDS[kind], likeness=round(likeness, 3)) for a, b, kind, likeness in rows]  # type: ignore[arg-type]


class SplitWatch:
    """Finds samples of train and val that stand in a later split, and leaves them out where `mode` is remove; see `tasks.data.Watch`."""

    def __init__(self, mode: Literal["remove", "report"], words: tuple[str, str] = ("sample", "samples")) -> None:
        self.mode, self._words = mode, words
        self.warnings: list[str] = []
        self.record = Leakage(mode=mode, removed=0, splits=[])

    def __call__(self, kind: Kind, parts: Parts, split: np.ndarray) -> np.ndarray:
        """See `tasks.data.Watch`. Raises UserError where nothing would be left of train or val."""
        left = split.copy()
        for later in range(len(SPLITS) - 1, 0, -1):
            earlier, kept = left < later, left == later
            if not earlier.any() or not kept.any():
                continue
            seen, found = overlap(kind, _chosen(parts, earlier), _chosen(parts, kept))
            samples, others = np.flatnonzero(earlier)[found.samples], np.flatnonzero(kept)[found.kept]
            shown = examples(found._replace(samples=samples, kept=others))
            part = SplitOverlap(**seen.model_dump(exclude={"examples"}), examples=shown, split=SPLITS[later])  # type: ignore[arg-type]
            self.record.splits.append(part)
            self._tell(part, [int((split[samples] == number).sum()) for number in range(later)])
            if self.mode == "remove":
                left[samples] = UNUSED
        self.record.removed = int((left != split).sum())
        for number, name in enumerate(SPLITS[:2]):
            if (split == number).any() and not (left == number).any():
                raise UserError(
                    f"data.leakage: every one of {name} stands in a later split too, so that nothing would be left; "
                    "take other data for the holdout, or set data.leakage: report"
                )
        return left

    def _tell(self, part: SplitOverlap, counts: list[int]) -> None:
        if not (count := sum(counts)):
            return
        who, stand = (self._words[0], "stands") if count == 1 else (self._words[1], "stand")
        where = " and ".join(f"{number:,} of {name}" for number, name in zip(counts, SPLITS, strict=False) if number)
        told = ((part.same, "the same"), (part.near, "nearly the same"), (part.part, "a part of one"))
        kinds = ", ".join(f"{number:,} {kind}" for number, kind in told if number)
        done = "removed" if self.mode == "remove" else "scores are too good by them; data.leakage: remove leaves them out"
        text = f"{count:,} {who} ({where}) {stand} in {part.split} too ({kinds}): {done}"
        log(f"WARNING: {text}")
        self.warnings.append(text)


def _chosen(parts: Parts, chosen: np.ndarray) -> Parts:
    """The samples for which `chosen` [N] is true."""

    def some() -> Iterator[Sequence[Any]]:
        row = 0
        for part in parts():
            yield [part[place] for place in np.flatnonzero(chosen[row : row + len(part)]).tolist()]
            row += len(part)

    return some
