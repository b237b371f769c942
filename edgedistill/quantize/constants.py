"""Constants of an exported graph: computed once, and one for each layer that reads it."""

from collections import Counter
from typing import Any

import torch
from torch import nn
from torch.fx import GraphModule, Node
from torch.utils import _pytree as pytree

from edgedistill.quantize.build import constant, replace
from edgedistill.quantize.graph import WEIGHTED, operators, tensor_of

_FEW = 2**16
_GROWTH = 4


def fold_constants(graph: GraphModule) -> int:
    """Compute what depends on constants only, in place; returns how many nodes became constants.

    A weight that a layer computes (weight normalisation, a transposed or standardised weight) is no weight to a quantizer or a delegate.
    The result is trained further if it came from a parameter. A constant that would grow to many times its size, such as one that is
    expanded, stays as it is.
    """
    known: dict[Node, torch.Tensor] = {}
    trained: set[Node] = set()
    for node in list(graph.graph.nodes):
        if node.op == "get_attr":
            # A region of the graph is an attribute too.
            if isinstance(node.meta.get("val"), torch.Tensor):
                known[node] = tensor_of(graph, node)
                if _is_trained(graph, node):
                    trained.add(node)
        elif node.op == "call_function" and _is_pure(node) and all(source in known for source in node.all_input_nodes):
            with torch.no_grad():
                value = node.target(*_values(node.args, known), **_values(node.kwargs, known))
            if isinstance(value, torch.Tensor) and value.numel() <= max(_FEW, _GROWTH * _size(node, known)):
                known[node] = value
                if trained.intersection(node.all_input_nodes):
                    trained.add(node)
    folded = [node for node in known if node.op != "get_attr" and any(user not in known for user in node.users)]
    for place, node in enumerate(folded):
        value = known[node].detach().clone().contiguous()
        with graph.graph.inserting_before(node):
            made = constant(graph, node, f"constant_{place}", nn.Parameter(value) if node in trained else value)
        replace(graph, node, made)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return len(folded)


def separate_shared(graph: GraphModule) -> int:
    """Give each layer a weight and a bias of its own, in place; returns how many were copied.

    The quantizer quantizes a weight for its first reader only. A bias has the scales of its layer's input and weight, so that two layers
    can't share one either.
    """
    nodes = [node for node in graph.graph.nodes if node.op == "get_attr"]
    readers = Counter(str(node.target) for node in nodes for _ in range(_reads(node)))
    count = 0
    for node in operators(graph, WEIGHTED):
        for place, source in enumerate(node.args[1:3], 1):
            if not isinstance(source, Node) or source.op != "get_attr" or readers[str(source.target)] < 2:
                continue
            readers[str(source.target)] -= 1
            value = tensor_of(graph, source).clone()
            with graph.graph.inserting_before(node):
                own = constant(graph, source, f"own_{count}", nn.Parameter(value) if _is_trained(graph, source) else value)
            node.args = (*node.args[:place], own, *node.args[place + 1 :])
            count += 1
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return count


def _reads(node: Node) -> int:
    """How often other nodes read a node."""
    return sum(argument is node for user in node.users for argument in pytree.tree_leaves((user.args, user.kwargs)))


def _is_trained(graph: GraphModule, node: Node) -> bool:
    owner, _, name = str(node.target).rpartition(".")
    value = getattr(graph.get_submodule(owner), name)
    return isinstance(value, nn.Parameter) and value.requires_grad


def _is_pure(node: Node) -> bool:
    """Whether a call of aten changes nothing and gives the same each time."""
    target = node.target
    if not isinstance(target, torch._ops.OpOverload) or target.namespace != "aten" or not isinstance(node.meta.get("val"), torch.Tensor):
        return False
    return not target._schema.is_mutable and torch.Tag.nondeterministic_seeded not in target.tags


def _values(arguments: Any, known: dict[Node, torch.Tensor]) -> Any:
    return torch.fx.node.map_arg(arguments, lambda node: known[node])


def _size(node: Node, known: dict[Node, torch.Tensor]) -> int:
    return sum(known[source].numel() for source in node.all_input_nodes)
