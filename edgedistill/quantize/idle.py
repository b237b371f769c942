"""Nodes of an exported graph that compute nothing."""

import torch
from torch.fx import GraphModule, Node

from edgedistill.quantize.build import call, replace
from edgedistill.quantize.graph import operators

_ATEN = torch.ops.aten
_NEUTRAL: dict[object, int] = {
    _ATEN.add.Tensor: 0, _ATEN.add_.Tensor: 0, _ATEN.sub.Tensor: 0, _ATEN.sub_.Tensor: 0, _ATEN.mul.Tensor: 1, _ATEN.mul_.Tensor: 1,
    _ATEN.div.Tensor: 1, _ATEN.div_.Tensor: 1,
}  # fmt: skip
"""The number with which an operator gives what it got."""


def drop_idle(graph: GraphModule) -> int:
    """Remove aliases (a slice of everything), sums with 0, products with 1, dropout of nothing and checks of types; returns how many.

    In place. Converters refuse an alias, and a sum that begins with 0 hides the branches that it adds. A check names the type that
    the exporter saw, which a constant that is computed once may no longer have. `reshape_as` reads a tensor for its shape alone, and gets
    it as numbers.
    """
    checks = operators(graph, (_ATEN._assert_tensor_metadata.default,))
    for check in checks:
        graph.graph.erase_node(check)
    idle = [node for node in operators(graph, (_ATEN.alias.default, _ATEN.dropout.default, *_NEUTRAL)) if _is_neutral(node)]
    for node in idle:
        replace(graph, node, node.all_input_nodes[0])
    shaped = [node for node in operators(graph, (_ATEN.reshape_as.default,)) if _sizes(node)]
    for node in shaped:
        with graph.graph.inserting_before(node):
            replace(graph, node, call(graph, node, _ATEN.reshape.default, node.args[0], _sizes(node)))
    graph.recompile()
    return len(idle) + len(checks) + len(shaped)


def _sizes(node: Node) -> list[int]:
    """The shape of a call's result, -1 for one size that varies; nothing where more than one does."""
    sizes = [size if isinstance(size, int) else -1 for size in node.meta["val"].shape]
    return sizes if sizes.count(-1) < 2 else []


def _is_neutral(node: Node) -> bool:
    """Whether a call changes neither values nor type."""
    if any(user.op == "output" for user in node.users):
        # Two outputs, or an output and an input, may not be one tensor.
        return False
    if node.target not in _NEUTRAL:
        return node.target == _ATEN.alias.default or node.args[1] in (0, 0.0)
    given, other = node.args[:2]
    same = isinstance(given, Node) and not isinstance(other, Node) and other == _NEUTRAL[node.target]
    return bool(same) and not node.kwargs and given.meta["val"].dtype == node.meta["val"].dtype  # type: ignore[union-attr]
