"""The integer kernels of XNNPACK, one function an operator; see `integer`.

Integers are held in float32 or float64 tensors whose sums stay exact, since torch has fast convolutions for those only. Formulas:
XNNPACK, src/microparams-init.c (https://github.com/google/XNNPACK).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

_INFINITY = float("inf")
_EXACT_FLOAT32 = 2**24
_ADD_BITS = 20


@dataclass(frozen=True)
class Steps:
    """int8 values, held in float32, that mean (values - zero_point) * scale."""

    values: Tensor
    scale: float
    zero_point: int

    @property
    def shifted(self) -> Tensor:
        """The values less the zero point: exact integers of at most 9 bits."""
        return self.values - self.zero_point


@dataclass(frozen=True)
class Weights:
    """int8 weights, held in float32, with a float32 scale for each output channel: axis 0, or 1 of transposed ones."""

    values: Tensor
    scales: Tensor
    axis: int = 0


@dataclass(frozen=True)
class Pending:
    """A result of a kernel before it is rounded, which waits for the scale of its output.

    rounded: gives for a float32 output scale the integers before the zero point is added. exact: the real values, in float64.
    low, high: bounds of a fused activation, in real values.
    """

    rounded: Callable[[Tensor], Tensor]
    exact: Callable[[], Tensor]
    low: float = -_INFINITY
    high: float = _INFINITY


def real(value: Any) -> Any:
    """What a value means, in float64; what is no tensor stays as it is."""
    if isinstance(value, Steps):
        return value.shifted.double() * value.scale
    if isinstance(value, Pending):
        return value.exact().clamp(value.low, value.high)
    if isinstance(value, Weights):
        return value.values.double() * _channels(value.scales.double(), value.values.ndim, value.axis)
    return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value


def _float32(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float32)


def _channels(values: Tensor, ndim: int, axis: int = 0) -> Tensor:
    return values.reshape([-1 if place == axis else 1 for place in range(ndim)])


def quantize(x: Any, scale: float, zero_point: int, low: int, high: int, _: torch.dtype) -> Tensor:
    """The int8 steps of a real tensor, a kernel's result, or of steps of another scale."""
    step = _float32(scale)
    if isinstance(x, Steps):
        if (float(_float32(x.scale)), x.zero_point) == (float(step), zero_point):
            return x.values
        # The kernel `qs8_vcvt`: a multiplier with 8 bits behind the point.
        multiplier = torch.round(256 * (_float32(x.scale) / step))
        return (torch.floor((x.shifted * multiplier + 128) / 256) + zero_point).clamp(low, high)
    if not isinstance(x, Pending):
        return (torch.round(x.float() * (1 / step)) + zero_point).clamp(low, high)
    least, most = (float((torch.round(_float32(bound) / step) + zero_point).clamp(low, high)) for bound in (x.low, x.high))
    return (x.rounded(step) + zero_point).float().clamp(least, most)


def dequantize(x: Tensor, scale: float, zero_point: int, *_: Any, **__: Any) -> Steps:
    """Names what steps mean; nothing is computed."""
    return Steps(x.float(), scale, zero_point)


def dequantize_weights(x: Tensor, scales: Tensor, zero_points: Tensor, axis: int, *_: Any, **__: Any) -> Weights | None:
    """Names what weights mean; None for weights that are not symmetric along one of their first two axes."""
    return None if axis > 1 or bool(zero_points.any()) else Weights(x.float(), scales.float(), axis)


def convolution(
    x: Any, weight: Any, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Pending | None:
    """Sums of products in exact integers, with the bias as int32 at scale s_input * s_weight."""
    return _products(x, weight, bias, lambda a, w: F.conv2d(a, w, None, stride, padding, dilation, groups))


def convolution_1d(
    x: Any, weight: Any, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Pending | None:
    """As `convolution`, for [N, C, T]."""
    return _products(x, weight, bias, lambda a, w: F.conv1d(a, w, None, stride, padding, dilation, groups))


def convolution_3d(
    x: Any, weight: Any, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Pending | None:
    """As `convolution`, for [N, C, D, H, W]."""
    return _products(x, weight, bias, lambda a, w: F.conv3d(a, w, None, stride, padding, dilation, groups))


def transposed(
    x: Any, weight: Any, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0, groups: int = 1,
    dilation: Any = 1,
) -> Pending | None:  # fmt: skip
    """As `convolution`, of a transposed one, whose weights are [in, out / groups, ...]."""
    options = (None, stride, padding, output_padding, groups, dilation)
    return _products(x, weight, bias, lambda a, w: F.conv_transpose2d(a, w, *options), groups, 1)


def transposed_1d(
    x: Any, weight: Any, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0, groups: int = 1,
    dilation: Any = 1,
) -> Pending | None:  # fmt: skip
    """As `transposed`, for [N, C, T]."""
    options = (None, stride, padding, output_padding, groups, dilation)
    return _products(x, weight, bias, lambda a, w: F.conv_transpose1d(a, w, *options), groups, 1)


def linear(x: Any, weight: Any, bias: Tensor | None = None) -> Pending | None:
    """As `convolution`, for [..., inputs]."""
    return _products(x, weight, bias, F.linear)


def _products(
    x: Any, weight: Any, bias: Tensor | None, compute: Callable[[Tensor, Tensor], Tensor], repeated: int = 1, axis: int = 0
) -> Pending | None:
    """Sums of products of steps with weights whose scales stand along `axis`, each for `repeated` groups; None for other arguments."""
    if not (isinstance(x, Steps) and isinstance(weight, Weights)) or weight.axis != axis:
        return None
    products = (_float32(x.scale) * weight.scales).repeat(repeated)
    shape = (-1, *[1] * (weight.values.ndim - 2))
    largest = float(weight.values.abs().transpose(0, axis).flatten(1).sum(1).max()) * 255
    # No partial sum of any order leaves the integers of float32, which is much faster, above all for depthwise convolutions.
    exact = torch.float32 if largest < _EXACT_FLOAT32 else torch.float64
    total = compute(x.shifted.to(exact), weight.values.to(exact)).double()
    if bias is not None:
        total = total + torch.round(bias.double() / products.double()).reshape(shape)
    scales = products.reshape(shape)
    return Pending(lambda step: torch.round(total.float() * (scales / step)), lambda: total * scales.double())


def add(a: Any, b: Any, *, alpha: float = 1) -> Pending | None:
    """Fixed point: each scale over that of the output is a multiplier, the larger one of 21 bits; halves are rounded up."""
    if not (isinstance(a, Steps) and isinstance(b, Steps)) or alpha != 1:
        return None

    def rounded(step: Tensor) -> Tensor:
        ratios = torch.stack([_float32(a.scale) / step, _float32(b.scale) / step])
        shift = _ADD_BITS - (int(torch.frexp(ratios.max())[1]) - 1)
        first, second = torch.round(ratios.double() * 2.0**shift)
        total = a.shifted.double() * first + b.shifted.double() * second
        return torch.floor((total + 2.0 ** (shift - 1)) / 2.0**shift)

    return Pending(rounded, lambda: real(a) + real(b))


def multiply(a: Any, b: Any) -> Pending | None:
    """The product of two tensors, times s_a * s_b / s_output in float32."""
    if not (isinstance(a, Steps) and isinstance(b, Steps)):
        return None
    scales = _float32(a.scale) * _float32(b.scale)
    total = a.shifted * b.shifted
    return Pending(lambda step: torch.round(total * (scales / step)), lambda: total.double() * float(scales))


def global_average(x: Any, size: Any) -> Pending | None:
    """Adaptive average pooling to 1 x 1; None for another size."""
    return mean(x, [-1, -2], True) if list(size) == [1, 1] else None


def mean(x: Any, dims: list[int], keepdim: bool = False, **_: Any) -> Pending | None:
    """The sum of integers, times s_input / (s_output * count) in float32."""
    if not isinstance(x, Steps):
        return None
    total = x.shifted.double().sum(dims, keepdim)
    count = x.values.numel() // total.numel()
    scale = _float32(x.scale)
    return Pending(lambda step: torch.round(total.float() * (scale / step / count)), lambda: total * float(scale) / count)


def relu(x: Any) -> Any:
    """A lower bound of 0."""
    return clamp(x, 0.0, _INFINITY)


def hardtanh(x: Any, low: float = -1.0, high: float = 1.0) -> Any:
    """Two bounds."""
    return clamp(x, low, high)


def clamp(x: Any, low: float | None = None, high: float | None = None) -> Any:
    """Bounds, which the kernel before it applies to its rounded result; None for none."""
    low, high = -_INFINITY if low is None else low, _INFINITY if high is None else high
    if isinstance(x, Pending):
        return replace(x, low=max(x.low, low), high=min(x.high, high))
    if isinstance(x, Steps):
        return Pending(lambda step: quantize(x, float(step), 0, -(2**15), 2**15, torch.int16), lambda: real(x), low, high)
    return None


def sigmoid(x: Any) -> Pending | None:
    """A table of 256 entries, made in float32."""
    if not isinstance(x, Steps):
        return None
    answers = torch.sigmoid(real(x).float())
    return Pending(lambda step: torch.round(answers / step), answers.double)


def moving(target: Any) -> Callable[..., Any]:
    """A rule for an operator that only moves or selects values."""

    def rule(x: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(x, Steps):
            return None
        result = target(x.values, *args, **kwargs)
        if isinstance(result, (list, tuple)):
            return [replace(x, values=value) for value in result]
        return replace(x, values=result)

    return rule
