"""Nodes of an exported graph that compute nothing."""

import torch
from torch.fx import GraphModule, Node

from edgedistill.quantize.build import replace
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
    the exporter saw, which a constant that is computed once may no longer have.
    """
    checks = operators(graph, (_ATEN._assert_tensor_metadata.default,))
    for check in checks:
        graph.graph.erase_node(check)
    idle = [node for node in operators(graph, (_ATEN.alias.default, _ATEN.dropout.default, *_NEUTRAL)) if _is_neutral(node)]
    for node in idle:
        replace(graph, node, node.all_input_nodes[0])
    graph.recompile()
    return len(idle) + len(checks)


def _is_neutral(node: Node) -> bool:
    """Whether a call changes neither values nor type."""
    if any(user.op == "output" for user in node.users):
        # Two outputs, or an output and an input, may not be one tensor.
        return False
    if node.target not in _NEUTRAL:
        return node.target == _ATEN.alias.default or node.args[1] in (0, 0.0)
    given, other = node.args[:2]
    if isinstance(given, Node) and any(_writes(user) for user in node.users) and not _is_own(given):
        # What is written into is a copy, and something else reads what it was copied from.
        return False
    same = isinstance(given, Node) and not isinstance(other, Node) and other == _NEUTRAL[node.target]
    return bool(same) and not node.kwargs and given.meta["val"].dtype == node.meta["val"].dtype  # type: ignore[union-attr]


def _is_own(node: Node) -> bool:
    """Whether one node alone reads a tensor that calls made, through views and changes in place as well."""
    if not isinstance(node.target, torch._ops.OpOverload) or len(node.users) > 1:
        return False
    (given, *_) = node.target._schema.returns
    return given.alias_info is None or _is_own(node.all_input_nodes[0])


def _writes(node: Node) -> bool:
    """Whether a call changes a tensor that it gets."""
    return isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable
