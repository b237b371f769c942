"""MIL's resizing of the last axes. Each sampling mode says which point of the input an output stands for:

https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html#coremltools.converters.mil.mil.ops.defs.iOS15.image_resizing.resize_bilinear
"""

import math
from typing import Any

import torch

from edgedistill.backends.coreml.mil.values import Operator, Tensor, ints
from edgedistill.measure.runner.refusal import NotExecutable

_TIE = 1e-6
"""How near to the middle of two places a point counts as there."""


def _points(size: int, out: int, sampling_mode: str) -> Tensor:
    """Where the `out` results of an axis lie on its `size` inputs, in places from 0 to size - 1."""
    steps = torch.arange(out, dtype=torch.float64)
    if sampling_mode in ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS"):
        if out == 1:
            return torch.tensor([(size - 1) / 2 if sampling_mode == "ALIGN_CORNERS" else 0.0], dtype=torch.float64)
        points = steps * (size - 1) / (out - 1)
    elif sampling_mode == "OFFSET_CORNERS":
        points = (steps + 0.5) * max(1, size - 1) / out
    elif sampling_mode == "UNALIGN_CORNERS":
        points = (steps + 0.5) * size / out - 0.5
    else:  # DEFAULT
        points = steps * size / out
    return points.clamp(0, size - 1)


def _linear(x: Tensor, axis: int, points: Tensor) -> Tensor:
    low = points.floor().long()
    high = (low + 1).clamp(max=x.shape[axis] - 1)
    shape = [1] * x.ndim
    shape[axis] = -1
    share = (points - low).reshape(shape)
    return x.index_select(axis, low) * (1 - share) + x.index_select(axis, high) * share


def _repeated(x: Tensor, axis: int, out: int) -> Tensor:
    """The neighbour before each point, as whole factors repeat values."""
    # Whole numbers, so that no quotient lands below the place that it stands for.
    return x.index_select(axis, torch.arange(out) * x.shape[axis] // out)


def _nearest(x: Tensor, axis: int, out: int, sampling_mode: str) -> Tensor:
    """The neighbour that is nearest to each point: of 2 values resized to 3 the second is the second, as coremltools' tests expect."""
    points = _points(x.shape[axis], out, sampling_mode)
    if sampling_mode == "OFFSET_CORNERS" or ((points - points.floor() - 0.5).abs() < _TIE).any():
        raise NotExecutable(f"which neighbour NEAREST_NEIGHBOR takes with {sampling_mode} from {x.shape[axis]} to {out} is not documented")
    return x.index_select(axis, points.round().long())


def _bilinear(x: Tensor, sizes: list[int], sampling_mode: str) -> Tensor:
    for axis, out in enumerate(sizes, x.ndim - len(sizes)):
        x = _linear(x, axis, _points(x.shape[axis], out, sampling_mode))
    return x


def _scaled(x: Tensor, scale_factor_height: Any, scale_factor_width: Any) -> list[int]:
    return [math.floor(x.shape[-2] * float(scale_factor_height)), math.floor(x.shape[-1] * float(scale_factor_width))]


def _upsample_bilinear(
    x: Tensor, scale_factor_height: Any = 1, scale_factor_width: Any = 1, align_corners: Any = True, half_pixel_centers: Any = None
) -> Tensor:
    half = not align_corners if half_pixel_centers is None else bool(half_pixel_centers)
    if align_corners and half:
        raise NotExecutable("align_corners together with half_pixel_centers is not documented")
    mode = "STRICT_ALIGN_CORNERS" if align_corners else "UNALIGN_CORNERS" if half else "DEFAULT"
    return _bilinear(x, _scaled(x, scale_factor_height, scale_factor_width), mode)


def _upsample_nearest(x: Tensor, scale_factor_height: Any = 1, scale_factor_width: Any = 1) -> Tensor:
    height, width = _scaled(x, scale_factor_height, scale_factor_width)
    return _repeated(_repeated(x, -2, height), -1, width)


def _resize_bilinear(x: Tensor, target_size_height: Any = 1, target_size_width: Any = 1, sampling_mode: Any = "DEFAULT") -> Tensor:
    return _bilinear(x, [int(target_size_height), int(target_size_width)], sampling_mode)


def _resize_nearest(x: Tensor, target_size_height: Any, target_size_width: Any) -> Tensor:
    return _repeated(_repeated(x, -2, int(target_size_height)), -1, int(target_size_width))


def _resize(x: Tensor, shape: Any, resized_dims: Any, interpolation_mode: Any = "LINEAR", sampling_mode: Any = "DEFAULT") -> Tensor:
    """The last `resized_dims` axes; a size of 0 keeps an axis as it is."""
    count = int(resized_dims)
    out_sizes = ints(shape)[len(ints(shape)) - count :]
    sizes = [size or x.shape[axis] for axis, size in enumerate(out_sizes, x.ndim - count)]
    if interpolation_mode == "LINEAR":
        return _bilinear(x, sizes, sampling_mode)
    for axis, out in enumerate(sizes, x.ndim - count):
        x = _nearest(x, axis, out, sampling_mode)
    return x


RESIZE: dict[str, Operator] = {
    "resize": _resize,
    "resize_bilinear": _resize_bilinear,
    "resize_nearest_neighbor": _resize_nearest,
    "upsample_bilinear": _upsample_bilinear,
    "upsample_nearest_neighbor": _upsample_nearest,
}
