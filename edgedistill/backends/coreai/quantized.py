"""Core AI's own operators in the place of PyTorch's: its converter knows no quantized_decomposed."""

from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from edgedistill.quantize.graph import operators, tensor_of


def own_quantization(graph: GraphModule) -> int:
    """Replace each quantize and dequantize by Core AI's, in place; returns how many.

    Scales, zero points and integers are those of the program. Symmetric weights become `blockwise_shift_scale`, by which coreai-opt
    stores weights; anything else becomes quantize or dequantize.
    """
    ops, own = torch.ops.quantized_decomposed, torch.ops.coreai
    by_tensor = (ops.quantize_per_tensor.default, ops.dequantize_per_tensor.default)
    by_channel = (ops.quantize_per_channel.default, ops.dequantize_per_channel.default)
    nodes = operators(graph, (*by_tensor, *by_channel))
    arguments: tuple[Any, ...]
    for place, node in enumerate(nodes):
        source, scales, zeros, *more = node.args[:7] if node.target in by_channel else node.args[:6]
        axis: Any = more[0] if node.target in by_channel else 0
        dtype: Any = more[-1]
        scale, zero = tensor_of(graph, scales).float(), tensor_of(graph, zeros).to(dtype)
        assert isinstance(source, Node)
        if node.target == ops.dequantize_per_channel.default and source.op == "get_attr" and not zero.any():
            shape = [1] * tensor_of(graph, source).ndim
            shape[axis] = -1
            # Without its type an int8 weight of few steps would be stored as int4.
            target, arguments = own.constexpr_blockwise_shift_scale.default, (scale.reshape(shape), None, None, dtype)
        elif node.target in (by_tensor[0], by_channel[0]):
            target, arguments = own.quantize.default, (scale, dtype, zero, None, axis)
        else:
            target, arguments = own.dequantize.default, (scale, zero, None, axis)
        with graph.graph.inserting_before(node):
            given = [stored(graph, f"quantization_{place}_{at}", part) for at, part in enumerate(arguments)]
            node.replace_all_uses_with(graph.graph.call_function(target, (source, *given)))
        graph.graph.erase_node(node)
    return len(nodes)


def stored(graph: GraphModule, name: str, value: Any) -> Any:
    """A tensor as a node that reads it, placed where nodes are inserted; what is no tensor stays as it is."""
    if not isinstance(value, Tensor):
        return value
    graph.register_buffer(name, value.contiguous())
    return graph.graph.get_attr(name)
