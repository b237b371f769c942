"""The reference of dynamic precisions: linear layers whose input is rounded to 8 bits by its own range, as runtimes do it."""

from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter

from edgedistill.verify.reference import Evaluated

_LINEAR = torch.ops.aten.linear.default


class DynamicReference(Evaluated):
    """A float program, its weights on their grid, of which each linear layer rounds its input first; the rest is float32.

    tensors: False rounds each row of an input to int8, as XNNPACK does for ExecuTorch and LiteRT; True each input as a whole to uint8, as
    ONNX's DynamicQuantizeLinear does. Products of integers are exact in float64.
    It takes one sample, and gives what the program does.
    """

    def __init__(self, graph: GraphModule, *, tensors: bool) -> None:
        super().__init__(graph)
        self.tensors = tensors

    def forward(self, *inputs: Tensor) -> Any:
        """The outputs for one sample."""
        with torch.no_grad():
            return _Rounding(self.graph, self.tensors).run(*inputs)


class _Rounding(Interpreter):
    def __init__(self, graph: GraphModule, tensors: bool) -> None:
        super().__init__(graph)
        self.tensors = tensors

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if target != _LINEAR:
            return super().call_function(target, args, kwargs)
        rounded = (by_tensor if self.tensors else by_row)(args[0])
        return super().call_function(target, (rounded, *(a.double() for a in args[1:])), kwargs).float()


def by_row(x: Tensor) -> Tensor:
    """Float32 `x` [..., features] rounded to int8 steps of each row, as float64.

    The range is widened to hold 0, and the zero point is taken from the end of the range at which it rounds less (XNNPACK's
    qd8, src/xnnpack/quantization.h).
    """
    low, high = x.amin(-1, keepdim=True).clamp(max=0.0), x.amax(-1, keepdim=True).clamp(min=0.0)
    inverse = torch.where(high > low, 255.0 / (high - low), torch.ones_like(low))
    at_low, at_high = low * inverse, high * inverse
    zero_point = torch.where((at_low - 128.0) + (at_high + 127.0) > 0, -128.0 - at_low, 127.0 - at_high).clamp(-128, 127).round()
    steps = (x * inverse + zero_point).round().clamp(-128, 127)
    return (steps - zero_point).double() * (1.0 / inverse).double()


def by_tensor(x: Tensor) -> Tensor:
    """Float32 `x` rounded to uint8 steps of its whole range, as float64 (ONNX, DynamicQuantizeLinear, operator set 11)."""
    low, high = x.amin().clamp(max=0.0), x.amax().clamp(min=0.0)
    scale = (high - low) / 255.0 if high > low else torch.ones(())
    zero_point = (-low / scale).round().clamp(0, 255)
    steps = ((x / scale).round() + zero_point).clamp(0, 255)
    return (steps - zero_point).double() * scale.double()
