"""Root mean square norms in the form that ONNX Runtime computes by one operator."""

import torch
from torch.fx import GraphModule

from edgedistill.quantize.build import call, replace
from edgedistill.quantize.graph import operators

_ATEN = torch.ops.aten


def divide_by_roots(graph: GraphModule) -> int:
    """Write each product with `rsqrt` as a quotient by `sqrt`, in place; returns how many.

    ONNX has no `rsqrt`, and ONNX Runtime fuses a norm (Zhang and Sennrich 2019, arXiv 1910.07467) from the quotient only.
    """
    count = 0
    for node in operators(graph, (_ATEN.mul.Tensor,)):
        value, root = node.args[:2]
        if getattr(root, "target", None) != _ATEN.rsqrt.default:
            continue
        with graph.graph.inserting_before(node):
            made = call(graph, node, _ATEN.div.Tensor, value, call(graph, root, _ATEN.sqrt.default, root.args[0]))  # type: ignore[arg-type, union-attr]
        replace(graph, node, made)
        count += 1
    graph.graph.eliminate_dead_code()
    return count
