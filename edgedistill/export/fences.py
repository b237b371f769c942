"""Two negations where a converter would move a quantization into an operator that computes in floating point, or drop a copy."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.fx import GraphModule, Node


def twice_negated(x: Tensor) -> Tensor:
    """`x`, through two operators that no converter quantizes. Runtimes compute both exactly."""
    return x.neg().neg()


def fence_input(graph: GraphModule, reader: Node, source: Node) -> None:
    """Let `reader` take `source` through two negations, in place."""
    with graph.graph.inserting_before(reader):
        reader.replace_input_with(source, graph.graph.call_function(twice_negated, (source,)))


def fence_in(graph: GraphModule, nodes: Sequence[Node]) -> int:
    """Put two negations between each of `nodes` and what dequantizes before or quantizes behind it, in place; returns how many."""
    count = 0
    for node in nodes:
        before = [source for source in node.all_input_nodes if _is(source, "dequantize")]
        behind = [user for user in node.users if _is(user, "quantize")]
        for source in before:
            fence_input(graph, node, source)
        for user in behind:
            fence_input(graph, user, node)
        count += bool(before or behind)
    graph.recompile()
    return count


def keep_copies(graph: GraphModule) -> int:
    """Let each output that is a copy of another value be computed by two negations, in place; returns how many.

    ExecuTorch's lowering and coremltools drop copies, and then have one tensor for two outputs.
    """
    (output,) = (node for node in graph.graph.nodes if node.op == "output")
    copies = [node for node in output.all_input_nodes if node.target == torch.ops.aten.clone.default]
    copies = [node for node in copies if node.meta["val"].is_floating_point()]
    for node in copies:
        node.target, node.args, node.kwargs = twice_negated, node.args[:1], {}
    return len(copies)


def _is(node: Node, kind: str) -> bool:
    ops = torch.ops.quantized_decomposed
    return node.target in (ops.dequantize_per_tensor.default, ops.quantize_per_tensor.default) and str(node.target).split(".")[
        1
    ].startswith(kind)
