"""MIL's convolutions and pools over one, two or three spatial axes."""

import math
from typing import Any

import torch
from torch.nn import functional as F

from edgedistill.backends.coreml.mil.values import Operator, Tensor, channelwise, ints, ints_or

_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
_AVERAGE = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
_MAXIMUM = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}


def _padded(x: Tensor, pad_type: str, pad: Any, kernel: list[int], strides: list[int], dilations: list[int], fill: float = 0.0) -> Tensor:
    """`x` padded as MIL's pad_type says: valid, custom (begin and end of each axis), same or same_lower."""
    if pad_type == "valid":
        return x
    if pad_type == "custom":
        begins, ends = _begins_and_ends(pad, len(kernel))
    else:
        begins, ends = [], []
        for size, k, s, d in zip(x.shape[2:], kernel, strides, dilations, strict=True):
            whole = max(0, (-(-size // s) - 1) * s + (k - 1) * d + 1 - size)
            smaller, larger = whole // 2, whole - whole // 2
            begins.append(larger if pad_type == "same_lower" else smaller)
            ends.append(smaller if pad_type == "same_lower" else larger)
    flat = [amount for pair in zip(reversed(begins), reversed(ends), strict=True) for amount in pair]
    return F.pad(x, flat, value=fill)


def _begins_and_ends(pad: Any, axes: int) -> tuple[list[int], list[int]]:
    amounts = ints_or(pad, [0] * 2 * axes)
    return amounts[0::2], amounts[1::2]


def _conv(
    x: Tensor,
    weight: Tensor,
    strides: Any = None,
    pad_type: Any = "valid",
    dilations: Any = None,
    groups: Any = 1,
    bias: Any = None,
    pad: Any = None,
) -> Tensor:
    axes = weight.ndim - 2
    stride, dilation = ints_or(strides, [1] * axes), ints_or(dilations, [1] * axes)
    x = _padded(x, pad_type, pad, list(weight.shape[2:]), stride, dilation)
    if int(groups) == 1 or axes == 3:
        return _CONV[axes](x, weight, bias, stride, 0, dilation, int(groups))
    if axes == 1:
        y = _grouped_conv(x.unsqueeze(2), weight.unsqueeze(2), [1, *stride], [1, *dilation], int(groups)).squeeze(2)
    else:
        y = _grouped_conv(x, weight, stride, dilation, int(groups))
    return y if bias is None else y + channelwise(bias, y, 1)


def _grouped_conv(x: Tensor, weight: Tensor, stride: list[int], dilation: list[int], groups: int) -> Tensor:
    """Grouped convolution as one batched product: torch has no float64 kernel for groups and loops over them, 5 times slower."""
    batch, out, kernel = x.shape[0], weight.shape[0], tuple(weight.shape[2:])
    rows = (x.shape[2] - (kernel[0] - 1) * dilation[0] - 1) // stride[0] + 1
    columns = F.unfold(x, kernel, dilation=tuple(dilation), stride=tuple(stride))
    columns = columns.reshape(batch, groups, -1, columns.shape[-1])
    return torch.matmul(weight.reshape(groups, out // groups, -1), columns).reshape(batch, out, rows, -1)


def _conv_transpose(
    x: Tensor,
    weight: Tensor,
    strides: Any = None,
    pad_type: Any = "valid",
    dilations: Any = None,
    groups: Any = 1,
    bias: Any = None,
    pad: Any = None,
    output_shape: Any = None,
) -> Tensor:
    """The whole transposed convolution, of which padding cuts off the borders; weight [in, out / groups, *kernel]."""
    axes = weight.ndim - 2
    stride = ints_or(strides, [1] * axes)
    y = _TRANSPOSED[axes](x, weight, None, stride, 0, 0, int(groups), ints_or(dilations, [1] * axes))
    whole = list(y.shape[2:])
    if pad_type == "custom":
        begins, ends = _begins_and_ends(pad, axes)
    elif pad_type == "same":
        surplus = [size - n * s for size, n, s in zip(whole, x.shape[2:], stride, strict=True)]
        begins = [amount // 2 for amount in surplus]
        ends = [amount - amount // 2 for amount in surplus]
    else:
        begins, ends = [0] * axes, [0] * axes
    sizes = [size - b - e for size, b, e in zip(whole, begins, ends, strict=True)] if output_shape is None else ints(output_shape)[2:]
    # A negative amount pads: an output shape may reach past the last product, where only the bias is.
    cut = [amount for size, b, n in reversed(list(zip(whole, begins, sizes, strict=True))) for amount in (-b, n + b - size)]
    y = F.pad(y, cut)
    return y if bias is None else y + channelwise(bias, y, 1)


def _avg_pool(
    x: Tensor,
    kernel_sizes: Any,
    strides: Any = None,
    pad_type: Any = "valid",
    exclude_padding_from_average: Any = False,
    ceil_mode: Any = False,
    pad: Any = None,
) -> Tensor:
    kernel = ints(kernel_sizes)
    axes, ones = len(kernel), [1] * len(kernel)
    stride, pool = ints_or(strides, ones), _AVERAGE[axes]
    if ceil_mode and exclude_padding_from_average:
        return pool(x, kernel, stride, _before(pad_type, pad, kernel), True, False)
    if ceil_mode:
        # Core ML divides a window that hangs over the edge by the whole kernel (measured: coremltools, pull request 2844).
        padding = _before(pad_type, pad, kernel)
        outside = [_overhang(*axis) for axis in zip(x.shape[2:], kernel, stride, padding, strict=True)]
        amounts = [amount for before, more in reversed(list(zip(padding, outside, strict=True))) for amount in (before, before + more)]
        return pool(F.pad(x, amounts), kernel, stride)
    total = pool(_padded(x, pad_type, pad, kernel, stride, ones), kernel, stride)
    if not exclude_padding_from_average:
        return total
    return total / pool(_padded(torch.ones_like(x), pad_type, pad, kernel, stride, ones), kernel, stride)


def _overhang(extent: int, kernel: int, stride: int, padding: int) -> int:
    """How far the last window of a pool with ceil_mode hangs over the padded axis; none begins behind the values and the padding before."""
    windows = -(-(extent + 2 * padding - kernel) // stride) + 1
    windows -= (windows - 1) * stride >= extent + padding
    return max(0, (windows - 1) * stride + kernel - extent - 2 * padding)


def _before(pad_type: Any, pad: Any, kernel: list[int]) -> list[int]:
    """Padding, symmetric as MIL demands, of a pool with ceil_mode: its rule for the last window is torch's, which has to see it."""
    return _begins_and_ends(pad, len(kernel))[0] if pad_type == "custom" else [0] * len(kernel)


def _max_pool(
    x: Tensor, kernel_sizes: Any, strides: Any = None, pad_type: Any = "valid", ceil_mode: Any = False, pad: Any = None
) -> Tensor:
    kernel = ints(kernel_sizes)
    axes, ones = len(kernel), [1] * len(kernel)
    stride, pool = ints_or(strides, ones), _MAXIMUM[axes]
    if ceil_mode:
        return pool(x, kernel, stride, _before(pad_type, pad, kernel), ceil_mode=True)
    return pool(_padded(x, pad_type, pad, kernel, stride, ones, fill=-torch.inf), kernel, stride)


def _l2_pool(x: Tensor, kernel_sizes: Any, **options: Any) -> Tensor:
    return (_avg_pool(x.square(), kernel_sizes, **options) * math.prod(ints(kernel_sizes))).sqrt()


CONV: dict[str, Operator] = {
    "avg_pool": _avg_pool,
    "conv": _conv,
    "conv_transpose": _conv_transpose,
    "l2_pool": _l2_pool,
    "max_pool": _max_pool,
}
