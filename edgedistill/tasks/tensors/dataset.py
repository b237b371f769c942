"""The samples of any module as the steps of a run take them: named arrays, written once into the run, and read as they are used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from edgedistill.files import canonical_hash, read_arrays, read_json, sha256_file, sha256_tree, write_arrays, write_json
from edgedistill.tasks.data import SPLITS, Batch
from edgedistill.tasks.tensors.recipe import Data
from edgedistill.tasks.tensors.samples import SPLIT, read
from edgedistill.tasks.tensors.task import ArrayFacts

_SPLITS, _FACTS = "splits", "facts.json"


class ArraySource:
    """The .npz that the data part of a recipe names."""

    def __init__(self, data: Data) -> None:
        self.data = data

    @property
    def fingerprint(self) -> str:
        """Changes with the file, and with what of it is taken."""
        return canonical_hash([sha256_file(self.data.npz), self.data.inputs])

    def prepare(self, folder: Path, seed: int) -> ArrayFacts:
        """Write the arrays into `folder`; splits that the file lacks are drawn by `seed`."""
        samples = read(self.data.npz, self.data.inputs)
        split = samples.split
        if split is None:
            split = np.zeros(samples.count, np.int64)
            fractions, order, start = self.data.split, np.random.default_rng(seed).permutation(samples.count), 0
            for number, fraction in ((1, fractions.val), (2, fractions.holdout)):
                count = max(1, round(fraction * samples.count)) if fraction else 0
                split[order[start : start + count]] = number
                start += count
        write_arrays(folder, samples.arrays)
        write_arrays(folder / _SPLITS, {SPLIT: split})
        counts = {name: int((split == number).sum()) for number, name in enumerate(SPLITS)}
        facts = ArrayFacts(source=self.data.npz.name, sha256=sha256_tree(folder), splits=counts, sizes=samples.sizes, inputs=samples.inputs)
        write_json(folder / _FACTS, facts.model_dump(mode="json"))
        return facts


class ArrayDataset:
    """The arrays that `ArraySource.prepare` wrote; no sample has a target."""

    def __init__(self, folder: Path) -> None:
        self.facts = ArrayFacts.model_validate(read_json(folder / _FACTS))
        self._arrays = read_arrays(folder, mapped=True)
        split = read_arrays(folder / _SPLITS)[SPLIT]
        self.indices: Mapping[str, np.ndarray] = {name: np.flatnonzero(split == number) for number, name in enumerate(SPLITS)}
        self.fields: Mapping[str, np.ndarray] = {}

    def __len__(self) -> int:
        return len(next(iter(self._arrays.values())))

    @property
    def has_target(self) -> np.ndarray:
        """Bool [N]: none has one."""
        return np.zeros(len(self), bool)

    def batch(self, indices: np.ndarray, view: int | None, *, keep: bool = True) -> Batch:
        """The samples `indices`; every view shows them as they are."""
        return Batch({name: torch.from_numpy(values) for name, values in self.inputs(indices).items()})

    def inputs(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """The samples `indices`, [B, ...] by the name of the input."""
        return {spec.name: np.array(self._arrays[spec.name][indices]) for spec in self.facts.inputs}

    def targets(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Nothing."""
        return {}
