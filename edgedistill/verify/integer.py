"""The exact integer evaluation of a quantized program: what the kernels of XNNPACK compute, the reference of integer runtimes."""

from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.fx.node import map_aggregate

from edgedistill.verify import kernels
from edgedistill.verify.kernels import Pending, Steps, Weights
from edgedistill.verify.reference import Evaluated, InFloat64, cast

_ATEN = torch.ops.aten


class IntegerReference(Evaluated):
    """A converted graph of which every quantized operator is computed in integers, and rounded as XNNPACK's kernels round.

    Products are summed exactly, the bias is an int32, and the accumulator becomes int8 by one float32 multiplication, rounded half to
    even (Jacob et al. 2018, arXiv 1712.05877, section 2.2; the multiplier in floating point is XNNPACK's and ONNX Runtime's). Sums of two
    tensors are in fixed point with multipliers of 21 bits. What no integer kernel computes (softmax, layer norm, GELU) is computed in
    float64 between a dequantize and a quantize; `floats` counts those operators.

    It takes and gives what the program does, floating-point outputs in float32.
    """

    def __init__(self, graph: GraphModule) -> None:
        super().__init__(graph)
        self.floats: dict[str, int] = {}

    def forward(self, *inputs: Tensor) -> Any:
        """The outputs, of a batch of any size where the program takes one; they do not depend on it."""
        return self.trace(*inputs)[0]

    def trace(self, *inputs: Tensor, keep: tuple[str, ...] = ()) -> tuple[Any, dict[str, Tensor]]:
        """The outputs, and the int8 steps that the quantize nodes of the names `keep` gave."""
        run = Integers(self.graph, keep)
        with torch.no_grad():
            outputs = run.run(*cast(inputs, torch.float32))
        self.floats = run.floats
        return cast(map_aggregate(outputs, kernels.real), torch.float32), run.kept


class Integers(InFloat64):
    """The evaluation behind `IntegerReference`: keeps each value as the integers that a kernel would hold, for as long as kernels would."""

    def __init__(self, graph: GraphModule, keep: tuple[str, ...]) -> None:
        super().__init__(graph)
        self.keep = set(keep)
        self.kept: dict[str, Tensor] = {}
        self.floats: dict[str, int] = {}

    def run_node(self, n: Node) -> Any:
        """The value of a node, which is kept where it was asked for."""
        value = super().run_node(n)
        if n.name in self.keep:
            self.kept[n.name] = value
        return value

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """In integers where a kernel takes the arguments, else in float64."""
        rule = _rules().get(target)
        if rule is not None:
            result = rule(*args, **kwargs)
            if result is not None:
                return result
        if target != _ATEN._assert_tensor_metadata.default and any(isinstance(value, (Steps, Pending, Weights)) for value in _flat(args)):
            self.floats[str(target)] = self.floats.get(str(target), 0) + 1
        real = map_aggregate(args, kernels.real)
        return super().call_function(target, real, kwargs)


def _flat(args: tuple[Any, ...]) -> list[Any]:
    return [item for value in args for item in (value if isinstance(value, (list, tuple)) else [value])]


def _rules() -> dict[Any, Any]:
    """What computes each operator in integers; a rule returns None for arguments that no kernel takes."""
    ops = torch.ops.quantized_decomposed
    moved = {
        target: kernels.moving(target)
        for target in (
            _ATEN.flatten.using_ints, _ATEN.view.default, _ATEN.reshape.default, _ATEN.permute.default, _ATEN.transpose.int,
            _ATEN.slice.Tensor, _ATEN.select.int, _ATEN.unsqueeze.default, _ATEN.squeeze.dim, _ATEN.squeeze.dims, _ATEN.expand.default,
            _ATEN.max_pool2d.default, _ATEN.dropout.default, _ATEN.contiguous.default, _ATEN.clone.default, _ATEN.unbind.int,
        )
    }  # fmt: skip
    return moved | {
        ops.quantize_per_tensor.default: kernels.quantize,
        ops.dequantize_per_tensor.default: kernels.dequantize,
        ops.dequantize_per_channel.default: kernels.dequantize_weights,
        _ATEN.conv2d.default: kernels.convolution,
        _ATEN.conv2d.padding: kernels.convolution,
        _ATEN.conv1d.default: kernels.convolution_1d,
        _ATEN.conv1d.padding: kernels.convolution_1d,
        _ATEN.conv3d.default: kernels.convolution_3d,
        _ATEN.conv3d.padding: kernels.convolution_3d,
        _ATEN.conv_transpose1d.default: kernels.transposed_1d,
        _ATEN.conv_transpose2d.input: kernels.transposed,
        _ATEN.linear.default: kernels.linear,
        _ATEN.add.Tensor: kernels.add,
        _ATEN.add_.Tensor: kernels.add,
        _ATEN.mul.Tensor: kernels.multiply,
        _ATEN.mul_.Tensor: kernels.multiply,
        _ATEN.adaptive_avg_pool2d.default: kernels.global_average,
        _ATEN.mean.dim: kernels.mean,
        _ATEN.relu.default: kernels.relu,
        _ATEN.relu_.default: kernels.relu,
        _ATEN.hardtanh.default: kernels.hardtanh,
        _ATEN.hardtanh_.default: kernels.hardtanh,
        _ATEN.clamp.default: kernels.clamp,
        _ATEN.clamp_.default: kernels.clamp,
        _ATEN.sigmoid.default: kernels.sigmoid,
        _ATEN.sigmoid_.default: kernels.sigmoid,
    }
