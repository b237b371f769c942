"""A dataset of named arrays in a folder, for tasks whose samples are rows of a few arrays. Free of torch until a batch is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from edgedistill.files import read_arrays, sha256_tree, write_arrays
from edgedistill.recipe.data import SetSplit
from edgedistill.rows import read_rows
from edgedistill.tasks.data import SPLITS, Batch, DataFacts

_SPLIT = "split"


def drawn(count: int, split: SetSplit, seed: int) -> np.ndarray:
    """The split of each of `count` samples, int64 [count]: 0 train, 1 val, 2 holdout, drawn by `seed` in the fractions of `split`."""
    splits, order, start = np.zeros(count, np.int64), np.random.default_rng(seed).permutation(count), 0
    for number, fraction in ((1, split.val), (2, split.holdout)):
        part = order[start : start + max(1, round(fraction * count))] if fraction else order[:0]
        splits[part] = number
        start += len(part)
    return splits


def write(folder: Path, arrays: Mapping[str, np.ndarray], split: np.ndarray) -> tuple[str, dict[str, int]]:
    """Write `arrays` [N, ...] and the `split` of each sample, int [N]; returns their hash and the number of samples of each split."""
    write_arrays(folder / "arrays", arrays)
    write_arrays(folder, {_SPLIT: split})
    return sha256_tree(folder), {name: int((split == number).sum()) for number, name in enumerate(SPLITS)}


class ArrayDataset:
    """The arrays that `write` wrote: those of `inputs` and `targets` by their names. A subclass may give views and masks."""

    def __init__(self, folder: Path, facts: DataFacts, inputs: Sequence[str], targets: Sequence[str] = ()) -> None:
        self.facts = facts
        self._inputs, self._targets = inputs, targets
        self._arrays = read_rows(folder / "arrays")
        split = read_arrays(folder)[_SPLIT]
        self.indices: Mapping[str, np.ndarray] = {name: np.flatnonzero(split == number) for number, name in enumerate(SPLITS)}
        self.fields: Mapping[str, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self._arrays[self._inputs[0]])

    @property
    def has_target(self) -> np.ndarray:
        """Whether each sample has a target, bool [N]: all or none."""
        return np.full(len(self), bool(self._targets))

    def batch(self, indices: np.ndarray, view: int | None, *, keep: bool = True) -> Batch:
        """The samples `indices` [B] as view `view` shows them, as tensors."""
        import torch

        inputs, targets = self.inputs(indices), self.targets(indices)
        inputs = inputs if view is None else self.view(inputs, indices, view)
        parts = (inputs, targets, self.mask(targets))
        return Batch(*({name: torch.from_numpy(values) for name, values in part.items()} for part in parts))

    def view(self, inputs: dict[str, np.ndarray], indices: np.ndarray, view: int) -> dict[str, np.ndarray]:
        """`inputs` [B, ...] of the samples `indices` as a view shows them; by default as they are."""
        return inputs

    def mask(self, targets: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Which positions of outputs count, by name; by default all. See `Batch.mask`."""
        return {}

    def inputs(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """The samples `indices` as programs take them, [B, ...] by the name of the input."""
        return {name: np.array(self._arrays[name][indices]) for name in self._inputs}

    def targets(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """What metrics compare outputs with, [B, ...] by the name of the output."""
        return {name: np.array(self._arrays[name][indices]) for name in self._targets}
