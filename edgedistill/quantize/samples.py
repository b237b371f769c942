"""Converts arrays of samples, by the names of a signature, to inputs of a module, and runs it on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgedistill.signature import Signature, TensorSpec


def batches(signature: Signature, arrays: Mapping[str, np.ndarray], size: int = 1) -> Iterator[tuple[Tensor, ...]]:
    """The inputs of `signature` in their order, `size` samples at once.

    arrays: rows are samples, by the names of the inputs. More than one at once takes a module whose inputs all begin with the batch.
    """
    count = len(arrays[signature.inputs[0].name])
    for start in range(0, count, size):
        yield tuple(_rows(spec, arrays[spec.name], start, size) for spec in signature.inputs)


def answers(signature: Signature, module: Callable[..., Any], arrays: Mapping[str, np.ndarray], size: int = 1) -> dict[str, np.ndarray]:
    """The outputs of `module` for each sample, by name: rows are samples. Arguments as for `batches`."""
    parts: dict[str, list[np.ndarray]] = {spec.name: [] for spec in signature.outputs}
    with torch.no_grad():
        for batch in batches(signature, arrays, size):
            given = module(*batch)
            for spec, value in zip(signature.outputs, given if isinstance(given, (tuple, list)) else [given], strict=True):
                parts[spec.name].append(value.cpu().numpy() if batched(spec) else value.cpu().numpy()[None])
    return {name: np.concatenate(found) for name, found in parts.items()}


def batched(spec: TensorSpec) -> bool:
    """Whether the samples are the first dimension of the tensor itself, which is then 1 for one sample."""
    return bool(spec.shape) and spec.shape[0] == 1


def _rows(spec: TensorSpec, array: np.ndarray, start: int, size: int) -> Tensor:
    if not batched(spec) and size != 1:
        raise ValueError(f"{spec} does not begin with the batch, expected samples one at a time")
    # Copy, since the array may be a read-only map of a file.
    return torch.from_numpy(np.array(array[start : start + size] if batched(spec) else array[start]))
