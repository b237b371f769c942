"""The reference of every int8 artifact: the converted program evaluated in float64."""

from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Interpreter
from torch.fx.node import map_aggregate


class Evaluated(nn.Module):
    """A converted graph that another arithmetic evaluates."""

    def __init__(self, graph: GraphModule) -> None:
        super().__init__()
        self.graph = graph
        self.eval()

    def train(self, mode: bool = True) -> Self:
        """A converted graph has no modes, and refuses to be asked for one."""
        return self


def cast(values: Any, dtype: torch.dtype) -> Any:
    """`values`, a tensor or tensors in lists and tuples, with floating-point ones in `dtype`; integers stay as they are."""
    return map_aggregate(values, lambda value: value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value)


class Reference(Evaluated):
    """A converted graph with every number in float64, where products and sums of int8 values are exact.

    In float32 the accumulators of a simulated convolution are rounded, which moves results across a rounding boundary,
    differently for each batch size. In float64 they are what integer kernels hold.

    It takes and gives what the program does, floating-point outputs in float32.
    """

    def forward(self, *inputs: Tensor) -> Any:
        """The outputs, of a batch of any size where the program takes one."""
        return cast(Simulated(self.graph).run(*cast(inputs, torch.float64)), torch.float32)


class InFloat64(Interpreter):
    """Runs a graph that was exported in float32 on float64 tensors."""

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """As the interpreter's, without what would ask for float32 or go back to it."""
        if target == torch.ops.aten._assert_tensor_metadata.default:
            return None
        # Casts, and what makes tensors of its own, such as the zeros that a recurrent layer begins with, would give float32.
        return cast(super().call_function(target, args, kwargs), torch.float64)


class Simulated(InFloat64):
    """Runs a converted graph on float64 tensors, quantization included."""

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The operator in float64, quantization included."""
        ops = torch.ops.quantized_decomposed
        if target == torch.ops.aten._assert_tensor_metadata.default:
            # The type that the exporter saw, which is no longer that of the values.
            return None
        # torch's own take float32 only.
        if target == ops.quantize_per_tensor.default:
            return _quantize(*args)
        if target == ops.dequantize_per_tensor.default:
            return _dequantize(*args[:3])
        if target == ops.dequantize_per_channel.default:
            return _dequantize_channels(*args[:4])
        return super().call_function(target, args, kwargs)

    def get_attr(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A weight or constant in float64."""
        value = super().get_attr(target, args, kwargs)
        return value.double() if value.is_floating_point() else value


def _quantize(x: Tensor, scale: float, zero_point: int, low: int, high: int, _: torch.dtype) -> Tensor:
    return torch.clamp(torch.round(x / scale) + zero_point, low, high)


def _dequantize(x: Tensor, scale: float, zero_point: int) -> Tensor:
    return (x.double() - zero_point) * scale


def _dequantize_channels(x: Tensor, scales: Tensor, zero_points: Tensor, axis: int) -> Tensor:
    shape = [-1 if i == axis else 1 for i in range(x.ndim)]
    return (x.double() - zero_points.reshape(shape)) * scales.reshape(shape)
