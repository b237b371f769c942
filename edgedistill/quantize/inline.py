"""Regions of an exported graph that a context manager set apart, as part of the graph."""

from typing import Any

import torch
from torch.fx import GraphModule, Node

from edgedistill.quantize.build import replace
from edgedistill.quantize.graph import operators

_REGIONS = {torch.ops.higher_order.wrap_with_autocast: 4, torch.ops.higher_order.wrap_with_set_grad_enabled: 1}
"""Where each has the graph of its region among its arguments; the tensors that the region reads follow."""


def inline_regions(graph: GraphModule) -> int:
    """Write the content of each region of `torch.autocast` or `torch.no_grad` where the region stands, in place; returns how many.

    Files have neither. What an autocast would compute in bfloat16 is computed in float32.
    """
    count = 0
    while found := operators(graph, tuple(_REGIONS)):
        for node in found:
            place = _REGIONS[node.target]  # type: ignore[index]
            region = graph.get_submodule(str(node.args[place].target))  # type: ignore[union-attr]
            assert isinstance(region, GraphModule)
            _inline(graph, node, region, list(node.args[place + 1 :]))
            count += 1
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return count


def _inline(graph: GraphModule, node: Node, region: GraphModule, inputs: list[object]) -> None:
    values = dict(zip((n for n in region.graph.nodes if n.op == "placeholder"), inputs, strict=True))
    for name, value in [*region.named_parameters(), *region.named_buffers()]:
        raise ValueError(f"found the constant {name} {tuple(value.shape)} inside of a region, expected it among what the region reads")
    with graph.graph.inserting_before(node):
        answers = graph.graph.graph_copy(region.graph, values)  # type: ignore[arg-type]
    parts: list[Any] = list(answers) if isinstance(answers, (list, tuple)) else [answers]
    for user in list(node.users):
        replace(graph, user, parts[user.args[1]])  # type: ignore[index]
    graph.graph.erase_node(node)
