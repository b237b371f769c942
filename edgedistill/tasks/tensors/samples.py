"""Samples of any module: an .npz of named arrays, whose rows are samples. Free of torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgedistill.errors import UserError
from edgedistill.signature import TensorSpec
from edgedistill.tasks.npz import read_npz

IMAGES = "images"
"""An .npz with this array holds labelled images, which are another task's."""
SPLIT = "split"
"""An array of this name says of each sample whether it trains or calibrates (0), is val (1) or the holdout (2)."""
LEAST = 4


@dataclass(frozen=True)
class Samples:
    """The inputs of a module, arrays [N, ...] by their names, and the split of each sample, int [N], where the file says it."""

    inputs: tuple[TensorSpec, ...]
    arrays: dict[str, np.ndarray]
    split: np.ndarray | None = None

    @property
    def count(self) -> int:
        """Number of samples N."""
        return len(next(iter(self.arrays.values())))

    @property
    def sizes(self) -> dict[str, int]:
        """The size that each dimension that varies has in the samples."""
        sizes: dict[str, int] = {}
        for spec in self.inputs:
            shape = (1, *self.arrays[spec.name].shape[1:])
            sizes |= {name: size for name, size in zip(spec.shape, shape, strict=True) if isinstance(name, str)}
        return sizes


def is_named(path: Path) -> bool:
    """Whether `path` is an .npz of named arrays that are not labelled images. Raises UserError when it can't be read."""
    return path.suffix == ".npz" and path.is_file() and IMAGES not in _read(path)


def read(path: Path, inputs: Sequence[str] = ()) -> Samples:
    """The samples of `path`. inputs: as `TensorSpec.parse` takes them; without any, the arrays say names, types and shapes in their order.

    Raises UserError with every mistake at once.
    """
    arrays = _read(path)
    split = arrays.pop(SPLIT, None)
    specs = tuple(TensorSpec.parse(text) for text in inputs) or tuple(_spec(path, name, array) for name, array in arrays.items())
    mistakes = [wrong for spec in specs if (wrong := _mistake(spec, arrays))]
    used = {spec.name: arrays[spec.name] for spec in specs if spec.name in arrays}
    counts = {len(array) for array in used.values() if array.ndim}
    if not specs:
        mistakes.append("found no arrays, expected one for each input of the module")
    if len(counts) > 1:
        mistakes.append(
            "found " + ", ".join(f"{len(a)} rows of {name}" for name, a in used.items() if a.ndim) + ", expected as many of each"
        )
    elif counts and min(counts) < LEAST:
        mistakes.append(f"found {min(counts)} samples, expected at least {LEAST}: some calibrate, the others verify")
    elif counts and split is not None and (split.shape != (min(counts),) or not np.isin(split, (0, 1, 2)).all()):
        mistakes.append(f"found {SPLIT} of shape {list(split.shape)}, expected 0, 1 or 2 for each of {min(counts)} samples")
    if mistakes:
        raise UserError(f"{path}: {'; '.join(mistakes)}")
    return Samples(specs, used, split)


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        return read_npz(path)
    except ValueError as error:
        raise UserError(f"{path}: not a readable .npz of arrays ({error})") from error


def _spec(path: Path, name: str, array: np.ndarray) -> TensorSpec:
    shape = ",".join(map(str, (1, *array.shape[1:])))
    try:
        return TensorSpec.parse(f"{name}={array.dtype}[{shape}]")
    except UserError as error:
        raise UserError(f"{path}: the array {name} is no input: {error}") from error


def _mistake(spec: TensorSpec, arrays: dict[str, np.ndarray]) -> str | None:
    if spec.name not in arrays:
        return f"found no array for the input {spec}, only {', '.join(arrays) or 'none'}"
    array = arrays[spec.name]
    if not spec.batched:
        return f"{spec} does not begin with a batch of 1, expected the shape of one sample, such as [1,80,50]"
    if not spec.matches(str(array.dtype), (1, *array.shape[1:])):
        return f"found {spec.name} of {array.dtype}[N,{','.join(map(str, array.shape[1:]))}], expected rows of {spec}"
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return f"{spec.name} holds values that are NaN or infinite"
    return None
