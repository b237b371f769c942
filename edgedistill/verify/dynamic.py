"""The reference of dynamic precisions: linear layers whose input is rounded to 8 bits by its own range, as runtimes do it."""

from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter

from edgedistill.quantize.rounding import by_row, by_tensor
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
