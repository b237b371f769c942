"""How runtimes round the input of a linear layer to 8 bits as it comes, by its own range."""

import torch
from torch import Tensor


def row_steps(x: Tensor) -> tuple[Tensor, Tensor]:
    """Float32 `x` [..., features] as int8 steps of each row, less their zero point, and the scale of each row [..., 1]; both float32.

    The range is widened to hold 0, and the zero point is taken from the end of the range at which it rounds less (XNNPACK's
    qd8, src/xnnpack/quantization.h).
    """
    low, high = x.amin(-1, keepdim=True).clamp(max=0.0), x.amax(-1, keepdim=True).clamp(min=0.0)
    inverse = torch.where(high > low, 255.0 / (high - low), torch.ones_like(low))
    at_low, at_high = low * inverse, high * inverse
    zero_point = torch.where((at_low - 128.0) + (at_high + 127.0) > 0, -128.0 - at_low, 127.0 - at_high).clamp(-128, 127).round()
    return (x * inverse + zero_point).round().clamp(-128, 127) - zero_point, 1.0 / inverse


def by_row(x: Tensor) -> Tensor:
    """Float32 `x` [..., features] rounded to int8 steps of each row, as float64; see `row_steps`."""
    steps, scale = row_steps(x)
    return steps.double() * scale.double()


def by_tensor(x: Tensor) -> Tensor:
    """Float32 `x` rounded to uint8 steps of its whole range, as float64 (ONNX, DynamicQuantizeLinear, operator set 11)."""
    low, high = x.amin().clamp(max=0.0), x.amax().clamp(min=0.0)
    scale = (high - low) / 255.0 if high > low else torch.ones(())
    zero_point = (-low / scale).round().clamp(0, 255)
    steps = ((x / scale).round() + zero_point).clamp(0, 255)
    return (steps - zero_point).double() * scale.double()
