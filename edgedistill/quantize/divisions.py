"""Divisions by a number, as products."""

import torch
from torch.fx import GraphModule, Node

from edgedistill.quantize.build import call, replace
from edgedistill.quantize.graph import operators

_ATEN = torch.ops.aten


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
