"""The state of a program as further inputs and outputs, for formats that leave it to the caller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch.fx import GraphModule, Node
from torch.fx.graph import CodeGen

from edgedistill.quantize.build import replace


def as_inputs(graph: GraphModule, names: Sequence[str]) -> list[Node]:
    """Further inputs of `graph` in the place of the buffers `names`, in that order."""
    reads = {str(node.target).rpartition(".")[2]: node for node in graph.graph.nodes if node.op == "get_attr"}
    last = next(node for node in reversed(graph.graph.nodes) if node.op == "placeholder")
    made = []
    for name in names:
        with graph.graph.inserting_after(last):
            last = graph.graph.placeholder(name)
        replace(graph, reads[name], last)
        made.append(last)
    return made


def module_of(graph: GraphModule, outputs: Sequence[Node] | Mapping[str, Node]) -> GraphModule:
    """A module that gives `outputs` of `graph`, by name where they have names, and takes its inputs as plain arguments.

    It is a new one, since an exported module refuses other inputs than those of its program.
    """
    (output,) = graph.graph.find_nodes(op="output")
    output.args = (dict(outputs) if isinstance(outputs, Mapping) else tuple(outputs),)
    graph.graph.set_codegen(CodeGen())
    graph.graph.eliminate_dead_code()
    return GraphModule(graph, graph.graph)
