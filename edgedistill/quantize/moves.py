"""Values that are only moved keep their steps."""

import torch
from torch.fx import GraphModule, Node

from edgedistill.quantize.graph import PASSING, WEIGHTED, float32, operators
from edgedistill.quantize.ties import sharing

_ATEN = torch.ops.aten
_MOVES = (
    *PASSING, _ATEN.slice.Tensor, _ATEN.select.int, _ATEN.permute.default, _ATEN.transpose.int, _ATEN.unsqueeze.default,
    _ATEN.contiguous.default, _ATEN.clone.default,
)  # fmt: skip
_ANY_SCALE = (*WEIGHTED, _ATEN.add.Tensor, _ATEN.add_.Tensor, _ATEN.mul.Tensor, _ATEN.mul_.Tensor)
"""Operators that take an input of any scale; others, such as a concatenation, share one with their inputs."""
_FIXED = (_ATEN.sigmoid.default, _ATEN.sigmoid_.default, _ATEN.softmax.int)
"""Operators whose output has the scale that kernels know."""
_LOW, _HIGH = -128, 127


def keep_steps(graph: GraphModule) -> int:
    """Let what is moved keep the scale of what it was moved from, in place; returns how many values were rounded again before.

    The quantizer observes a part of a tensor by itself. Its range is smaller, but a finer step gains nothing: the values are on the steps
    of the whole. A part that is concatenated with others shares their scale, so that both sides get the wider of the two ranges. Rounding
    again costs accuracy and time, and runtimes round in ways of their own, LiteRT's XNNPACK with a multiplier of 8 bits behind the point:
    an int8 shufflenet_v2_x0_5 was 1.7 LSB off in a .pte and an .onnx.
    """
    ops = torch.ops.quantized_decomposed
    quantize, dequantize = ops.quantize_per_tensor.default, ops.dequantize_per_tensor.default
    count = 0
    for node in operators(graph, (quantize,)):
        source = node.args[0]
        while isinstance(source, Node) and source.target in _MOVES:
            source = source.args[0]
        if not isinstance(source, Node) or source.target != dequantize or source is node.args[0] or source.args[1:3] == node.args[1:3]:
            continue
        readers = [reader for user in node.users for reader in user.users]
        if all(user.target == dequantize for user in node.users) and all(reader.target in _ANY_SCALE for reader in readers):
            _set({node, *node.users}, source.args[1:3])
        else:
            group = sharing(source) | sharing(node)
            if any(each.all_input_nodes[0].target in _FIXED for each in group):
                continue
            _set(group, _wider(source, node))
        count += 1
    graph.recompile()
    return count


def _set(nodes: set[Node], steps: tuple[object, ...]) -> None:
    for node in nodes:
        node.args = (node.args[0], *steps, *node.args[3:])  # type: ignore[arg-type]


def _wider(*nodes: Node) -> tuple[float, int]:
    """Scale and zero point of the range that holds those of all `nodes`."""
    steps = [(float(node.args[1]), int(node.args[2])) for node in nodes]  # type: ignore[arg-type]
    low = min(scale * (_LOW - zero_point) for scale, zero_point in steps)
    high = max(scale * (_HIGH - zero_point) for scale, zero_point in steps)
    scale = float32((high - low) / (_HIGH - _LOW))
    return scale, round(_LOW - low / scale)
