"""The operators of MIL in float64: each takes the arguments that the specification names."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

Tensor = torch.Tensor


def to_tensor(value: Any) -> Any:
    """Numbers as float64 tensors (integers of indices and shapes too: every use of them converts back); text as it is."""
    if isinstance(value, (str, bool, np.bool_)):
        return value
    return torch.from_numpy(np.array(value, dtype=np.float64))


def _ints(value: Any) -> list[int]:
    return [int(v) for v in np.atleast_1d(np.asarray(value))]


def _channelwise(parameter: Tensor, like: Tensor, axis: Any) -> Tensor:
    """A scalar, or one value for each index of `axis`, shaped to broadcast against `like`."""
    if parameter.ndim == 0:
        return parameter
    shape = [1] * like.ndim
    shape[int(axis) if axis is not None else 0] = -1
    return parameter.reshape(shape)


def _padded(x: Tensor, pad_type: str, pad: Any, kernel: list[int], strides: list[int], dilations: list[int], fill: float = 0.0) -> Tensor:
    """`x` padded as MIL's pad_type says: valid, custom (begin and end of each axis), same or same_lower."""
    if pad_type == "valid":
        return x
    if pad_type == "custom":
        amounts = _ints(pad)
        begins, ends = amounts[0::2], amounts[1::2]
    else:
        begins, ends = [], []
        for size, k, s, d in zip(x.shape[2:], kernel, strides, dilations, strict=True):
            whole = max(0, (-(-size // s) - 1) * s + (k - 1) * d + 1 - size)
            smaller, larger = whole // 2, whole - whole // 2
            begins.append(larger if pad_type == "same_lower" else smaller)
            ends.append(smaller if pad_type == "same_lower" else larger)
    flat = [amount for pair in zip(reversed(begins), reversed(ends), strict=True) for amount in pair]
    return F.pad(x, flat, value=fill)


def _conv(x: Tensor, weight: Tensor, strides: Any, pad_type: Any, dilations: Any, groups: Any, bias: Any = None, pad: Any = None) -> Tensor:
    stride, dilation = _ints(strides), _ints(dilations)
    x = _padded(x, pad_type, pad, list(weight.shape[2:]), stride, dilation)
    if int(groups) == 1:
        return F.conv2d(x, weight, bias, stride, 0, dilation)
    y = _grouped_conv(x, weight, stride, dilation, int(groups))
    return y if bias is None else y + bias.reshape(-1, 1, 1)


def _grouped_conv(x: Tensor, weight: Tensor, stride: list[int], dilation: list[int], groups: int) -> Tensor:
    """Grouped convolution as one batched product: torch has no float64 kernel for groups and loops over them, 5 times slower."""
    batch, out, kernel = x.shape[0], weight.shape[0], tuple(weight.shape[2:])
    rows = (x.shape[2] - (kernel[0] - 1) * dilation[0] - 1) // stride[0] + 1
    columns = F.unfold(x, kernel, dilation=tuple(dilation), stride=tuple(stride))
    columns = columns.reshape(batch, groups, -1, columns.shape[-1])
    return torch.matmul(weight.reshape(groups, out // groups, -1), columns).reshape(batch, out, rows, -1)


def _linear(x: Tensor, weight: Tensor, bias: Any = None) -> Tensor:
    return F.linear(x, weight, bias)


def _quantize(input: Tensor, scale: Tensor, output_dtype: Any, zero_point: Any = None, axis: Any = None) -> Tensor:
    low, high = (0, 255) if output_dtype == "uint8" else (-128, 127)
    # torch.round rounds half to even, as the specification asks.
    steps = torch.round(input / _channelwise(scale, input, axis))
    shift = 0.0 if zero_point is None else _channelwise(zero_point, input, axis)
    return torch.clamp(steps + shift, low, high)


def _dequantize(input: Tensor, scale: Tensor, zero_point: Any = None, axis: Any = None) -> Tensor:
    shift = 0.0 if zero_point is None else _channelwise(zero_point, input, axis)
    return (input - shift) * _channelwise(scale, input, axis)


def affine_dequantize(quantized_data: Tensor, zero_point: Tensor, scale: Tensor, axis: Any) -> Tensor:
    """Weights of a constexpr_affine_dequantize, not rounded to the program's float type as coremltools would give them."""
    return _dequantize(quantized_data, scale, zero_point, axis)


def _batch_norm(x: Tensor, mean: Tensor, variance: Tensor, epsilon: Any, gamma: Any = None, beta: Any = None) -> Tensor:
    return F.batch_norm(x, mean, variance, gamma, beta, False, 0.0, float(epsilon))


def _avg_pool(
    x: Tensor, kernel_sizes: Any, strides: Any, pad_type: Any, exclude_padding_from_average: Any, ceil_mode: Any, pad: Any = None
) -> Tensor:
    kernel, stride = _ints(kernel_sizes), _ints(strides)
    if ceil_mode:
        return F.avg_pool2d(x, kernel, stride, _before(pad_type, pad, kernel), True, not exclude_padding_from_average)
    ones = [1] * len(kernel)
    total = F.avg_pool2d(_padded(x, pad_type, pad, kernel, stride, ones), kernel, stride)
    if not exclude_padding_from_average:
        return total
    return total / F.avg_pool2d(_padded(torch.ones_like(x), pad_type, pad, kernel, stride, ones), kernel, stride)


def _before(pad_type: Any, pad: Any, kernel: list[int]) -> list[int]:
    """Padding, symmetric as MIL demands, of a pool with ceil_mode: its rule for the last window is torch's, which has to see it."""
    return _ints(pad)[0::2] if pad_type == "custom" else [0] * len(kernel)


def _max_pool(x: Tensor, kernel_sizes: Any, strides: Any, pad_type: Any, ceil_mode: Any, pad: Any = None) -> Tensor:
    kernel, stride = _ints(kernel_sizes), _ints(strides)
    if ceil_mode:
        return F.max_pool2d(x, kernel, stride, _before(pad_type, pad, kernel), ceil_mode=True)
    return F.max_pool2d(_padded(x, pad_type, pad, kernel, stride, [1] * len(kernel), fill=-torch.inf), kernel, stride)


def _matmul(x: Tensor, y: Tensor, transpose_x: Any = False, transpose_y: Any = False) -> Tensor:
    return (x.mT if transpose_x else x) @ (y.mT if transpose_y else y)


def _reduce(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def reduce(x: Tensor, axes: Any = None, keep_dims: Any = False) -> Tensor:
        dims = list(range(x.ndim)) if axes is None else _ints(axes)
        return function(x, dim=dims, keepdim=bool(keep_dims))

    return reduce


def _expand_dims(x: Tensor, axes: Any) -> Tensor:
    amounts = _ints(axes)
    for axis in sorted(axis % (x.ndim + len(amounts)) for axis in amounts):
        x = x.unsqueeze(axis)
    return x


def _squeeze(x: Tensor, axes: Any = None) -> Tensor:
    return x.squeeze() if axes is None else x.squeeze(_ints(axes))


def _slice_by_index(
    x: Tensor, begin: Any, end: Any, stride: Any = None, begin_mask: Any = None, end_mask: Any = None, squeeze_mask: Any = None
) -> Tensor:
    def flags(mask: Any) -> list[int]:
        return [0] * x.ndim if mask is None else _ints(mask)

    starts, ends, steps = _ints(begin), _ints(end), [1] * x.ndim if stride is None else _ints(stride)
    if min(steps) < 1:
        raise ValueError(f"slice_by_index with stride {steps} cannot be executed, only strides of 1 or more")
    from_first, to_last, single = flags(begin_mask), flags(end_mask), flags(squeeze_mask)
    return x[
        tuple(
            starts[d] if single[d] else slice(None if from_first[d] else starts[d], None if to_last[d] else ends[d], steps[d])
            for d in range(x.ndim)
        )
    ]


def _same(x: Tensor) -> Tensor:
    return x


def _cast(x: Tensor, dtype: Any) -> Tensor:
    # A cast between float types changes nothing in float64.
    if dtype in ("fp16", "fp32"):
        return x
    return (x != 0).double() if dtype == "bool" else torch.trunc(x)


def _of_x(function: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    """`function` with MIL's name for its argument."""
    return lambda x: function(x)


OPERATORS: dict[str, Callable[..., Tensor]] = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "real_div": lambda x, y: x / y,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "avg_pool": _avg_pool,
    "batch_norm": _batch_norm,
    "cast": _cast,
    "clip": lambda x, alpha, beta: x.clamp(float(alpha), float(beta)),
    "concat": lambda values, axis, interleave=False: torch.cat(values, int(axis)),
    "conv": _conv,
    "dequantize": _dequantize,
    "expand_dims": _expand_dims,
    "gelu": lambda x, mode="EXACT": F.gelu(x, approximate="tanh" if mode == "TANH_APPROXIMATION" else "none"),
    "identity": _same,
    "linear": _linear,
    "matmul": _matmul,
    "max_pool": _max_pool,
    "quantize": _quantize,
    "reduce_mean": _reduce(torch.mean),
    "reduce_sum": _reduce(torch.sum),
    "relu": _of_x(F.relu),
    "relu6": _of_x(F.relu6),
    "reshape": lambda x, shape: x.reshape(_ints(shape)),
    "sigmoid": _of_x(torch.sigmoid),
    "sigmoid_hard": lambda x, alpha, beta: (x * float(alpha) + float(beta)).clamp(0, 1),
    "silu": _of_x(F.silu),
    "slice_by_index": _slice_by_index,
    "softmax": lambda x, axis: torch.softmax(x, int(axis)),
    "squeeze": _squeeze,
    "tanh": _of_x(torch.tanh),
    "thresholded_relu": lambda x, alpha: torch.where(x >= alpha, x, torch.zeros_like(x)),
    "transpose": lambda x, perm: x.permute(_ints(perm)),
}
