"""Prevents sums of a quantized program that lie exactly between two steps."""

import math

import torch
from torch.fx import GraphModule, Node

from edgedistill.quantize.graph import PASSING, float32, operators

_WIDENING = 2.0**-10


def break_ties(graph: GraphModule) -> int:
    """Widen the output scale of each addition by 2^-10 of itself, in place; returns how many scales were changed.

    The range of a sum is observed on sums of quantized values, so its scale is an integer combination of the scales of its two inputs, and
    a sum often lies exactly between two steps. There each runtime rounds in its own way (to even, away from zero, or by its float32
    multiplier), and residual networks propagate the difference. With another scale there are no exact middles. The range becomes wider
    by a thousandth, so nothing more is clipped.
    """
    ops, aten = torch.ops.quantized_decomposed, torch.ops.aten
    quantize, dequantize = ops.quantize_per_tensor.default, ops.dequantize_per_tensor.default
    sums = (aten.add.Tensor, aten.add_.Tensor)
    activations = (aten.relu.default, aten.relu_.default, aten.hardtanh.default, aten.hardtanh_.default)
    pairs = set()
    for node in operators(graph, (quantize,)):
        source = node.args[0]
        while isinstance(source, Node) and source.target in activations:
            source = source.args[0]
        if isinstance(source, Node) and source.target in sums:
            pairs.add(node.args[1:3])
    # Operators that pass values on (flatten, pooling) share scale and zero point with the sum, so change them too.
    for node in operators(graph, (quantize, dequantize)):
        if node.args[1:3] in pairs:
            node.args = (node.args[0], float32(node.args[1] * (1 + _WIDENING)), *node.args[2:])  # type: ignore[operator]
    graph.recompile()
    return len(pairs)


def separate_means(graph: GraphModule) -> int:
    """Give each global average over an even count its own scale, 2^-10 wider than that of its input, in place; returns how many.

    The quantizer makes them share a scale, so that a mean over 4 x 4 lies exactly between two steps in one of 16 cases. ONNX Runtime
    computes it in floating point and rounds differently from integer kernels. A mean over an odd count has no such middle. LiteRT's
    converter drops a mean over a single value, and with it a change of scale.
    """
    ops, aten = torch.ops.quantized_decomposed, torch.ops.aten
    quantize, dequantize = ops.quantize_per_tensor.default, ops.dequantize_per_tensor.default
    means = [node for node in operators(graph, (aten.adaptive_avg_pool2d.default, aten.mean.dim)) if _count(node) % 2 == 0]
    for mean in means:
        shared = [node.args[1:3] for node in mean.users if node.target == quantize]
        waiting = list(mean.users) if shared else []
        while waiting:
            node = waiting.pop()
            if node.target in (quantize, dequantize) and node.args[1:3] == shared[0]:
                node.args = (node.args[0], float32(node.args[1] * (1 + _WIDENING)), *node.args[2:])  # type: ignore[operator]
            elif node.target not in PASSING:
                continue
            waiting += node.users
    graph.recompile()
    return len(means)


def _count(mean: Node) -> int:
    """The number of values in each result of `mean`."""
    before = mean.all_input_nodes[0]
    while "val" not in before.meta:
        before = before.all_input_nodes[0]
    # Both have the same, perhaps symbolic, batch size.
    shapes = (math.prod(int(size) for size in node.meta["val"].shape[1:]) for node in (before, mean))
    whole, results = shapes
    return whole // results
