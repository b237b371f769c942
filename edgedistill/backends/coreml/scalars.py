"""Quantized scalar constants, which coremltools dequantizes wrongly."""

from torch import nn
from torch.fx import GraphModule

from edgedistill.quantize.graph import operators, tensor_of


def fold_scalars(graph: GraphModule) -> int:
    """Replace each dequantized scalar constant by the float32 number that it means, in place; returns how many.

    coremltools 9.0 subtracts the zero point from such a constant in int8, where 127 - (-128) is -1: a factor of 4.0 becomes -0.0157, and
    nothing says so. Constants with dimensions are right.
    """
    import torch

    ops = torch.ops.quantized_decomposed
    constants = [node for node in operators(graph, (ops.dequantize_per_tensor.default,)) if node.args[0].op == "get_attr"]  # type: ignore[union-attr]
    scalars = [node for node in constants if tensor_of(graph, node.args[0]).ndim == 0]
    for place, node in enumerate(scalars):
        name = f"scalar_{place}"
        value = ops.dequantize_per_tensor(tensor_of(graph, node.args[0]), *node.args[1:])
        graph.register_parameter(name, nn.Parameter(value, requires_grad=False))
        with graph.graph.inserting_before(node):
            node.replace_all_uses_with(graph.graph.get_attr(name))
        graph.graph.erase_node(node)
    return len(scalars)
