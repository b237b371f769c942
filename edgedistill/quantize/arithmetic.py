"""Arithmetic with numbers, as sums and products that all runtimes compute alike."""

import torch
from torch.fx import GraphModule, Node

from edgedistill.quantize.build import call, replace
from edgedistill.quantize.graph import operators

_ATEN = torch.ops.aten
_SCALED = (_ATEN.add.Tensor, _ATEN.sub.Tensor)


def multiply_instead(graph: GraphModule) -> int:
    """Replace each division of floats by a number by the product with its inverse, in place; returns how many.

    Kernels in integers multiply and do not divide: the mean of two heads, `(a + b) / 2`, would leave an output in floating point.
    """
    count = 0
    for node in operators(graph, (_ATEN.div.Tensor, _ATEN.div_.Tensor)):
        given, number = node.args
        if isinstance(given, Node) and isinstance(number, (int, float)) and number and given.meta["val"].is_floating_point():
            with graph.graph.inserting_before(node):
                replace(graph, node, call(graph, node, _ATEN.mul.Tensor, given, 1 / number))
            count += 1
    graph.recompile()
    return count


def write_out_factors(graph: GraphModule) -> int:
    """Write the factor `alpha` of a sum or difference as a product, and `number - x` as `number + x * -1`, in place; returns how many.

    coremltools leaves the factor out, and LiteRT's converter fails at it; it also takes `number - x` for `x - number`.
    """
    scaled = [node for node in operators(graph, _SCALED) if "alpha" in node.kwargs and isinstance(node.args[1], Node)]
    for node in scaled:
        with graph.graph.inserting_before(node):
            factor = call(graph, node, _ATEN.mul.Tensor, node.args[1], node.kwargs["alpha"])
            replace(graph, node, call(graph, node, node.target, node.args[0], factor))
    turned = [
        node
        for node in operators(graph, (_ATEN.rsub.Scalar,))
        if len(node.args) == 2 and not node.kwargs and node.meta["val"].is_floating_point()
    ]
    for node in turned:
        with graph.graph.inserting_before(node):
            negative = call(graph, node, _ATEN.mul.Tensor, node.args[0], -1.0)
            replace(graph, node, call(graph, node, _ATEN.add.Tensor, negative, node.args[1]))
    graph.recompile()
    return len(scaled) + len(turned)
