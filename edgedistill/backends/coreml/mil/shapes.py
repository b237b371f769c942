"""MIL operators that move values without computing: reshape, slice, concat, pad, gather, scatter and their kin."""

from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from edgedistill.backends.coreml.mil.values import Operator, Tensor, ints, ints_or, to_tensor

_REDUCTIONS = {"mul": "prod", "div": "prod", "max": "amax", "min": "amin"}
"""What torch calls the modes of scatter; a division multiplies by the reciprocal."""


def _reshape(x: Tensor, shape: Any) -> Tensor:
    sizes = ints(shape)
    before = len(sizes) - x.ndim
    # 0 keeps the size of the axis that is as far from the last one; it is 1 where there is none.
    return x.reshape([size or (x.shape[i - before] if i >= before else 1) for i, size in enumerate(sizes)])


def _reshape_like(x: Tensor, ref_tensors: list[Tensor], begins: list[Any], ends: list[Any], end_masks: list[Any]) -> Tensor:
    shape: list[int] = []
    for reference, begin, end, to_last in zip(ref_tensors, begins, ends, end_masks, strict=True):
        shape += reference.shape[int(begin) : None if to_last else int(end)]
    return x.reshape(shape)


def _expand_dims(x: Tensor, axes: Any) -> Tensor:
    amounts = ints(axes)
    for axis in sorted(axis % (x.ndim + len(amounts)) for axis in amounts):
        x = x.unsqueeze(axis)
    return x


def _squeeze(x: Tensor, axes: Any = None) -> Tensor:
    return x.squeeze() if axes is None else x.squeeze(ints(axes))


def _flatten2d(x: Tensor, axis: Any = 1) -> Tensor:
    rows = int(np.prod(x.shape[: int(axis)]))
    return x.reshape(rows, -1)


def _places(x: Tensor, begin: Any, end: Any, stride: Any, begin_mask: Any, end_mask: Any, squeeze_mask: Any) -> list[range | int]:
    """For each axis of `x` the places that a slice takes, or one place where the axis is dropped."""
    starts, ends, steps = ints(begin), ints(end), ints_or(stride, [1] * x.ndim)
    from_first, to_last, single = (ints_or(mask, [0] * x.ndim) for mask in (begin_mask, end_mask, squeeze_mask))
    places: list[range | int] = []
    for axis, size in enumerate(x.shape):
        if single[axis]:
            places.append(starts[axis] % size)
            continue
        places.append(range(size)[None if from_first[axis] else starts[axis] : None if to_last[axis] else ends[axis] : steps[axis]])
    return places


def _slice_by_index(
    x: Tensor, begin: Any, end: Any, stride: Any = None, begin_mask: Any = None, end_mask: Any = None, squeeze_mask: Any = None
) -> Tensor:
    y = x
    places = _places(x, begin, end, stride, begin_mask, end_mask, squeeze_mask)
    # From the last axis, so that a dropped axis moves none of those that are still to come.
    for axis, chosen in reversed(list(enumerate(places))):
        if isinstance(chosen, int):
            y = y.select(axis, chosen)
        elif chosen != range(x.shape[axis]):
            # By index, because torch has no slices that go backwards.
            y = y.index_select(axis, torch.tensor(chosen, dtype=torch.long))
    return y


def _slice_update(
    x: Tensor,
    update: Tensor,
    begin: Any,
    end: Any,
    stride: Any = None,
    begin_mask: Any = None,
    end_mask: Any = None,
    squeeze_mask: Any = None,
) -> Tensor:
    chosen = _places(x, begin, end, stride, begin_mask, end_mask, squeeze_mask)
    places = [torch.tensor([p] if isinstance(p, int) else p, dtype=torch.long) for p in chosen]
    y = x.clone()
    y[torch.meshgrid(*places, indexing="ij")] = update.reshape([len(p) for p in places])
    return y


def _slice_by_size(x: Tensor, begin: Any, size: Any) -> Tensor:
    starts, sizes = ints(begin), ints(size)
    for axis, whole in enumerate(tuple(x.shape)):
        start = starts[axis] % whole if starts[axis] < 0 else starts[axis]
        x = x.narrow(axis, start, whole - start if sizes[axis] == -1 else sizes[axis])
    return x


def _split(x: Tensor, axis: Any, num_splits: Any = None, split_sizes: Any = None) -> tuple[Tensor, ...]:
    dim = int(axis)
    sizes = ints(split_sizes) if split_sizes is not None else [x.shape[dim] // int(num_splits)] * int(num_splits)
    return torch.split(x, sizes, dim)


def _concat(values: list[Tensor], axis: Any, interleave: Any = False) -> Tensor:
    dim = int(axis) % values[0].ndim
    return torch.stack(values, dim + 1).flatten(dim, dim + 1) if interleave else torch.cat(values, dim)


def _pad(x: Tensor, pad: Any, mode: Any = "constant", constant_val: Any = 0.0) -> Tensor:
    amounts = ints(pad)
    pairs = list(zip(amounts[0::2], amounts[1::2], strict=True))
    if mode == "constant":
        return F.pad(x, [amount for pair in reversed(pairs) for amount in pair], value=float(constant_val))
    for axis, pair in enumerate(pairs, x.ndim - len(pairs)):
        places = np.pad(np.arange(x.shape[axis]), pair, mode="reflect" if mode == "reflect" else "edge")
        x = x.index_select(axis, torch.from_numpy(places))
    return x


def _gather(x: Tensor, indices: Tensor, axis: Any = 0, batch_dims: Any = 0, validate_indices: Any = None) -> Tensor:
    """`indices` of any shape take the place of `axis`; the first `batch_dims` axes of both run together."""
    _check_indices(indices, validate_indices)
    dim = int(axis) % x.ndim
    if batch := int(batch_dims):
        parts = [_gather(*pair, dim - batch) for pair in _batches(x, indices, batch)]
        return torch.stack(parts).unflatten(0, x.shape[:batch])
    return _at(x, indices, dim)


def _at(x: Tensor, indices: Tensor, dim: int) -> Tensor:
    places = _from_first(indices, x.shape[dim])
    return x.index_select(dim, places.reshape(-1)).reshape([*x.shape[:dim], *indices.shape, *x.shape[dim + 1 :]])


def _check_indices(indices: Tensor, validate_indices: Any) -> None:
    """Raise ValueError for negative indices of operators of iOS 17, which have `validate_indices`: before they counted from the end."""
    if validate_indices is not None and (indices < 0).any():
        raise ValueError(f"found the index {int(indices.min())}; since iOS 17 the result of a negative one is undefined")


def _from_first(indices: Tensor, size: int) -> Tensor:
    """Indices as integers from the first place on."""
    places = indices.long()
    return torch.where(places < 0, places + size, places)


def _batches(x: Tensor, indices: Tensor, batch: int) -> list[tuple[Tensor, Tensor]]:
    return list(zip(x.flatten(0, batch - 1), indices.flatten(0, batch - 1), strict=True))


def _gather_along_axis(x: Tensor, indices: Tensor, axis: Any = 0, validate_indices: Any = None) -> Tensor:
    _check_indices(indices, validate_indices)
    dim = int(axis)
    return torch.take_along_dim(x, _from_first(indices, x.shape[dim]), dim)


def _gather_nd(x: Tensor, indices: Tensor, batch_dims: Any = 0, validate_indices: Any = None) -> Tensor:
    _check_indices(indices, validate_indices)
    if batch := int(batch_dims):
        return torch.stack([_gather_nd(*pair) for pair in _batches(x, indices, batch)]).unflatten(0, x.shape[:batch])
    return x[tuple(indices.long().movedim(-1, 0))]


def _written(data: Tensor, places: tuple[Any, ...], updates: Tensor, mode: str) -> Tensor:
    """A copy of `data` with `updates` at `places`, one after the other where a place comes twice."""
    result = data.clone()
    if mode == "update":
        result[places] = updates
        return result
    if mode in ("add", "sub"):
        return result.index_put_(places, updates if mode == "add" else -updates, accumulate=True)
    spots = torch.arange(data.numel()).reshape(data.shape)[places].reshape(-1)
    values = (1 / updates if mode == "div" else updates).reshape(-1)
    return result.reshape(-1).scatter_reduce(0, spots, values, _REDUCTIONS[mode]).reshape(data.shape)


def _scatter(data: Tensor, indices: Tensor, updates: Tensor, axis: Any = 0, mode: Any = "add", validate_indices: Any = None) -> Tensor:
    _check_indices(indices, validate_indices)
    dim = int(axis) % data.ndim
    return _written(data.movedim(dim, 0), (indices.long(),), updates.movedim(dim, 0), mode).movedim(0, dim)


def _scatter_along_axis(
    data: Tensor, indices: Tensor, updates: Tensor, axis: Any = 0, mode: Any = "add", validate_indices: Any = None
) -> Tensor:
    _check_indices(indices, validate_indices)
    grid = list(torch.meshgrid(*[torch.arange(size) for size in indices.shape], indexing="ij"))
    grid[int(axis)] = indices.long()
    return _written(data, tuple(grid), updates, mode)


def _scatter_nd(data: Tensor, indices: Tensor, updates: Tensor, mode: Any = "add", validate_indices: Any = None) -> Tensor:
    _check_indices(indices, validate_indices)
    return _written(data, tuple(indices.long().movedim(-1, 0)), updates, mode)


def _one_hot(indices: Tensor, one_hot_vector_size: Any, axis: Any = -1, on_value: Any = 1.0, off_value: Any = 0.0) -> Tensor:
    size = int(one_hot_vector_size)
    dim = int(axis) % (indices.ndim + 1)
    places = torch.arange(size).reshape([-1 if i == dim else 1 for i in range(indices.ndim + 1)])
    return torch.where(indices.unsqueeze(dim) == places, on_value, off_value)


def _filled(shape: list[int], value: Any) -> Tensor:
    return (value if isinstance(value, Tensor) else to_tensor(value)).expand(shape)


def _band_part(x: Tensor, lower: Any = -1, upper: Any = -1) -> Tensor:
    y = x if int(lower) < 0 else x.triu(-int(lower))
    return y if int(upper) < 0 else y.tril(int(upper))


def _depth_to_space(x: Tensor, block_size: Any) -> Tensor:
    """Channels [block, block, rest]: pixel_shuffle has them the other way round."""
    b = int(block_size)
    return F.pixel_shuffle(x.unflatten(1, (b * b, -1)).transpose(1, 2).flatten(1, 2), b)


def _space_to_depth(x: Tensor, block_size: Any) -> Tensor:
    b = int(block_size)
    return F.pixel_unshuffle(x, b).unflatten(1, (-1, b * b)).transpose(1, 2).flatten(1, 2)


def _crop(x: Tensor, crop_height: Any, crop_width: Any) -> Tensor:
    (top, bottom), (left, right) = ints(crop_height), ints(crop_width)
    return x[..., top : x.shape[-2] - bottom, left : x.shape[-1] - right]


def _sliding_windows(x: Tensor, axis: Any, size: Any, stride: Any = 1) -> Tensor:
    dim = int(axis) % x.ndim
    return x.unfold(dim, int(size), int(stride)).movedim(-1, dim + 1)


SHAPES: dict[str, Operator] = {
    "band_part": _band_part,
    "concat": _concat,
    "crop": _crop,
    "depth_to_space": _depth_to_space,
    "expand_dims": _expand_dims,
    "fill": lambda shape, value=0.0: _filled(ints(shape), value),
    "fill_like": lambda ref_tensor, value=0.0: _filled(list(ref_tensor.shape), value),
    "flatten2d": _flatten2d,
    "gather": _gather,
    "gather_along_axis": _gather_along_axis,
    "gather_nd": _gather_nd,
    "non_zero": lambda x: torch.nonzero(x).double(),
    "one_hot": _one_hot,
    "pad": _pad,
    "pixel_shuffle": lambda x, upscale_factor: F.pixel_shuffle(x, int(upscale_factor)),
    "pixel_unshuffle": lambda x, downscale_factor: F.pixel_unshuffle(x, int(downscale_factor)),
    "range_1d": lambda start, end, step: torch.arange(float(start), float(end), float(step), dtype=torch.float64),
    "reshape": _reshape,
    "reshape_like": _reshape_like,
    "reverse": lambda x, axes=None: x.flip(ints_or(axes, list(range(x.ndim)))),
    "scatter": _scatter,
    "scatter_along_axis": _scatter_along_axis,
    "scatter_nd": _scatter_nd,
    "shape": lambda x: torch.tensor(x.shape, dtype=torch.float64),
    "slice_by_index": _slice_by_index,
    "slice_by_size": _slice_by_size,
    "slice_update": _slice_update,
    "sliding_windows": _sliding_windows,
    "space_to_depth": _space_to_depth,
    "split": _split,
    "squeeze": _squeeze,
    "stack": lambda values, axis: torch.stack(values, int(axis)),
    "tile": lambda x, reps: x.tile(ints(reps)),
    "transpose": lambda x, perm: x.permute(ints(perm)),
}
