"""How values of a Core ML program are held: every number as float64, booleans as booleans, text as it is."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

Tensor = torch.Tensor
Operator = Callable[..., Any]


def to_tensor(value: Any) -> Any:
    """Numbers as float64 tensors (integers of indices and shapes too: every use of them converts back); text as it is."""
    if isinstance(value, str):
        return value
    array = np.asarray(value)
    # A copy: weights are views of a file that is mapped read only.
    return torch.from_numpy(np.array(array, dtype=np.bool_ if array.dtype == np.bool_ else np.float64))


def ints(value: Any) -> list[int]:
    """A shape, axes or any other list of whole numbers, whether it was stored as one number or as a tensor."""
    return [int(v) for v in np.atleast_1d(np.asarray(value))]


def ints_or(value: Any, default: list[int]) -> list[int]:
    """`ints` of an argument that may be left out."""
    return default if value is None else ints(value)


def channelwise(parameter: Tensor, like: Tensor, axis: Any) -> Tensor:
    """A scalar, or one value for each index of `axis`, shaped to broadcast against `like`."""
    if parameter.ndim == 0:
        return parameter
    shape = [1] * like.ndim
    shape[int(axis) if axis is not None else 0] = -1
    return parameter.reshape(shape)


def of_x(function: Callable[[Tensor], Tensor]) -> Operator:
    """`function` with MIL's name for its only argument."""

    def operator(x: Tensor) -> Tensor:
        return function(x)

    return operator


def of_xy(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    """`function` with MIL's names for its two arguments."""

    def operator(x: Tensor, y: Tensor) -> Tensor:
        return function(x, y)

    return operator
