"""The samples of any module: named arrays of an .npz, written once into the run."""

from __future__ import annotations

from pathlib import Path

from edgedistill.files import canonical_hash, sha256_file
from edgedistill.tasks import arrays
from edgedistill.tasks.tensors.recipe import Data
from edgedistill.tasks.tensors.samples import read
from edgedistill.tasks.tensors.task import ArrayFacts


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
        split = arrays.drawn(samples.count, self.data.split, seed) if samples.split is None else samples.split
        digest, splits = arrays.write(folder, samples.arrays, split)
        facts = ArrayFacts(source=self.data.npz.name, sha256=digest, splits=splits, sizes=samples.sizes, inputs=samples.inputs)
        facts.write(folder)
        return facts
