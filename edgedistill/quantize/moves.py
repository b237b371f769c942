"""Values that are only moved keep their steps."""

import torch
from torch.fx import GraphModule, Node

from edgedistill.quantize.graph import PASSING, WEIGHTED, operators

_ATEN = torch.ops.aten
_MOVES = (
    *PASSING, _ATEN.slice.Tensor, _ATEN.select.int, _ATEN.permute.default, _ATEN.transpose.int, _ATEN.unsqueeze.default,
    _ATEN.contiguous.default, _ATEN.clone.default,
)  # fmt: skip
_ANY_SCALE = (*WEIGHTED, _ATEN.add.Tensor, _ATEN.add_.Tensor, _ATEN.mul.Tensor, _ATEN.mul_.Tensor)
"""Operators that take an input of any scale; others, such as a concatenation, share one with their inputs."""


def keep_steps(graph: GraphModule) -> int:
    """Let what is moved and then read by a layer keep the scale of what it was moved from, in place; returns how many scales were changed.

    The quantizer observes a part of a tensor by itself. Its range is smaller, but a finer step gains nothing: the values are on the steps
    of the whole. Rounding them again costs accuracy and time, and runtimes round in ways of their own: an int8 shufflenet_v2_x0_5 was
    1.7 LSB off in a .pte and an .onnx.
    """
    ops = torch.ops.quantized_decomposed
    quantize, dequantize = ops.quantize_per_tensor.default, ops.dequantize_per_tensor.default
    count = 0
    for node in operators(graph, (quantize,)):
        source = node.args[0]
        while isinstance(source, Node) and source.target in _MOVES:
            source = source.args[0]
        if not isinstance(source, Node) or source.target != dequantize or source is node.args[0] or source.args[1:] == node.args[1:]:
            continue
        if any(user.target != dequantize for user in node.users):
            continue
        if any(reader.target not in _ANY_SCALE for user in node.users for reader in user.users):
            continue
        for each in (node, *node.users):
            each.args = (each.args[0], *source.args[1:])
        count += 1
    graph.recompile()
    return count
