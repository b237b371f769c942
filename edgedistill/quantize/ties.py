"""Prevents sums of a quantized program that lie exactly between two steps."""

import math

import torch
from torch.fx import GraphModule, Node

from edgedistill.quantize.graph import ACTIVATIONS, PASSING, float32, operators

_ATEN = torch.ops.aten
_WIDENING = 2.0**-10
_SHARED = (
    *PASSING, *ACTIVATIONS, _ATEN.cat.default, _ATEN.max_pool2d.default, _ATEN.permute.default, _ATEN.transpose.int, _ATEN.slice.Tensor,
    _ATEN.contiguous.default, _ATEN.clone.default,
)  # fmt: skip
"""Operators whose input and output have one scale, for the quantizer and for XNNPACK."""


def break_ties(graph: GraphModule) -> int:
    """Widen the output scale of each addition by 2^-10 of itself, in place; returns how many scales were changed.

    The range of a sum is observed on sums of quantized values, so its scale is an integer combination of the scales of its two inputs, and
    a sum often lies exactly between two steps. There each runtime rounds in its own way (to even, away from zero, or by its float32
    multiplier), and residual networks propagate the difference. With another scale there are no exact middles. The range becomes wider
    by a thousandth, so nothing more is clipped.
    """
    quantize, dequantize = _steps()
    sums = (_ATEN.add.Tensor, _ATEN.add_.Tensor)
    pairs = set()
    for node in operators(graph, (quantize,)):
        source = node.args[0]
        while isinstance(source, Node) and source.target in ACTIVATIONS:
            source = source.args[0]
        if isinstance(source, Node) and source.target in sums:
            pairs.add(node.args[1:3])
    # Operators that pass values on (flatten, pooling) share scale and zero point with the sum, so change them too.
    for node in operators(graph, (quantize, dequantize)):
        if node.args[1:3] in pairs:
            _widen(node)
    graph.recompile()
    return len(pairs)


def separate_means(graph: GraphModule) -> int:
    """Give each global average over an even count its own scale, 2^-10 wider than that of its input, in place; returns how many.

    The quantizer makes them share a scale, so that a mean over 4 x 4 lies exactly between two steps in one of 16 cases. ONNX Runtime
    computes it in floating point and rounds differently from integer kernels. A mean over an odd count has no such middle. LiteRT's
    converter drops a mean over a single value, and with it a change of scale. What shares the scale of the mean behind it is widened too:
    XNNPACK refuses a concatenation of tensors with different scales when it loads the file. A mean that is concatenated with its own
    input keeps the scale.
    """
    quantize, _ = _steps()
    count = 0
    for mean in operators(graph, (_ATEN.adaptive_avg_pool2d.default, _ATEN.mean.dim)):
        before = mean.all_input_nodes[0]
        after = next((node for node in mean.users if node.target == quantize), None)
        if after is None or before.args[1:3] != after.args[1:3] or _count(mean) % 2:
            continue
        group = sharing(after)
        if before in group:
            continue
        for node in group:
            _widen(node)
        count += 1
    graph.recompile()
    return count


def sharing(start: Node) -> set[Node]:
    """The quantize and dequantize nodes that have the scale and zero point of `start` and have to keep the same ones as it."""
    nodes: set[Node] = set()
    waiting, seen = [start], {start}
    while waiting:
        node = waiting.pop()
        if node.target in _steps():
            if node.args[1:3] != start.args[1:3]:
                continue
            nodes.add(node)
        elif node.target not in _SHARED:
            continue
        near = {*node.users, *node.all_input_nodes} - seen
        seen |= near
        waiting += near
    return nodes


def _steps() -> tuple[object, object]:
    """The operators of activations, which exist once PT2E was imported."""
    ops = torch.ops.quantized_decomposed
    return ops.quantize_per_tensor.default, ops.dequantize_per_tensor.default


def _widen(node: Node) -> None:
    node.args = (node.args[0], float32(node.args[1] * (1 + _WIDENING)), *node.args[2:])  # type: ignore[operator]


def _count(mean: Node) -> int:
    """The number of values in each result of `mean`."""
    before = mean.all_input_nodes[0]
    while "val" not in before.meta:
        before = before.all_input_nodes[0]
    # Both have the same, perhaps symbolic, batch size.
    shapes = (math.prod(int(size) for size in node.meta["val"].shape[1:]) for node in (before, mean))
    whole, results = shapes
    return whole // results
