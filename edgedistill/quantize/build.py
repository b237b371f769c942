"""Writes operators into an exported graph."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from edgedistill.quantize.graph import operators


def call(graph: GraphModule, like: Node, target: Any, *arguments: Any) -> Node:
    """A call of `target` at the graph's insertion point. Its layer is that of `like`; its shape is computed, since quantizers need it."""
    made = graph.graph.call_function(target, arguments)
    values = torch.fx.node.map_arg(arguments, lambda node: node.meta["val"])
    with _fake_mode(like):
        made.meta = dict(like.meta) | {"val": target(*values)}
    return made


def constant(graph: GraphModule, like: Node, name: str, value: Tensor) -> Node:
    """A read of a new constant at the graph's insertion point: a parameter if `value` is one, else a buffer.

    A graph that was rewritten before may have a constant of that `name`; the new one gets a number behind it.
    """
    names = itertools.chain([name], (f"{name}_{count}" for count in itertools.count(1)))
    name = next(free for free in names if not hasattr(graph, free))
    if isinstance(value, nn.Parameter):
        graph.register_parameter(name, value)
    else:
        graph.register_buffer(name, value)
    made = graph.graph.get_attr(name)
    made.meta = {"val": _fake_mode(like).from_tensor(value.detach(), static_shapes=True)}
    return made


def replace(graph: GraphModule, node: Node, made: Node) -> None:
    """Let `made` stand for `node`, which is removed."""
    node.replace_all_uses_with(made)
    graph.graph.erase_node(node)


def write_by(graph: GraphModule, formulas: dict[Any, Any]) -> int:
    """Let functions compute what operators do, in place; the next export writes them out. formulas: the function for each operator."""
    nodes = operators(graph, tuple(formulas))
    for node in nodes:
        node.target = formulas[node.target]  # type: ignore[index]
    return len(nodes)


def _fake_mode(like: Node) -> Any:
    value = like.meta["val"]
    return (value[0] if isinstance(value, (list, tuple)) else value).fake_mode
