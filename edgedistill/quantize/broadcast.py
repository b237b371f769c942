"""Expansions of an exported graph that arithmetic does by itself."""

import torch
from torch.fx import GraphModule

from edgedistill.quantize.build import replace
from edgedistill.quantize.graph import operators

_ATEN = torch.ops.aten
_ARITHMETIC = (_ATEN.add.Tensor, _ATEN.sub.Tensor, _ATEN.mul.Tensor, _ATEN.div.Tensor)


def drop_expansions(graph: GraphModule) -> int:
    """Remove each expansion whose readers broadcast it anyway, in place; returns how many.

    It copies the values, and LiteRT's converter expands along other axes once it has moved the channels.
    """
    count = 0
    for node in operators(graph, (_ATEN.expand.default, _ATEN.expand_as.default)):
        source = node.args[0]
        shape = node.meta["val"].shape
        others = [[other for other in user.all_input_nodes if other is not node] for user in node.users]
        arithmetic = all(user.target in _ARITHMETIC for user in node.users)
        if arithmetic and all(len(other) == 1 and other[0].meta["val"].shape == shape for other in others):
            replace(graph, node, source)  # type: ignore[arg-type]
            count += 1
    graph.recompile()
    return count
