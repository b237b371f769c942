"""The first layer at which a file leaves its reference, by bisection over prefixes of the quantized program.

A prefix ends behind one of the program's quantize nodes and answers what that node passes on. Each is lowered and executed like the whole
program. A runtime may fuse a prefix otherwise than the whole, so the layer is a hint where to look first, and no evidence.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.fx import GraphModule, Node

from edgedistill.quantize.graph import PASSING, layer_of, operator_of, operators, outputs_of


@dataclass(frozen=True)
class Cut:
    """A place where a prefix may end. lsb: the scale of what it answers."""

    layer: str
    operator: str
    lsb: float


def cuts(graph: GraphModule) -> list[Cut]:
    """Where the prefixes of a converted graph may end, in execution order: behind what each operator computes."""
    return [Cut(*_layer(node), float(node.args[1])) for node in _ends(graph)]  # type: ignore[arg-type]


def prefix(graph: GraphModule, position: int) -> GraphModule:
    """A copy of `graph` that answers [N, features], what the quantize node of cut `position` passes on, in real values."""
    shorter = copy.deepcopy(graph)
    end = _ends(shorter)[position]
    values = next(user for user in end.users if user.target == torch.ops.quantized_decomposed.dequantize_per_tensor.default)
    output = next(node for node in shorter.graph.nodes if node.op == "output")
    with shorter.graph.inserting_before(output):
        answer = shorter.graph.call_function(torch.ops.aten.flatten.using_ints, (values, 1))
    answer.meta = dict(values.meta)
    output.args = ([answer],)
    # Behind the end everything is dead, and what only looks at tensors would keep it.
    for node in reversed(list(shorter.graph.nodes)):
        if node.op == "call_function" and not node.users:
            shorter.graph.erase_node(node)
    shorter.graph.eliminate_dead_code()
    shorter.recompile()
    return shorter


def computed(graph: GraphModule, position: int) -> list[str]:
    """What lies between cut `position` and the cuts before it, as `operator (layer)` in execution order.

    Not each operator has a cut behind it: one that shares the scale of its input is seen at the next one only.
    """
    ends = _ends(graph)
    before: set[Node] = set()
    for end in ends[:position]:
        before |= _needed(end)
    between = _needed(ends[position]) - before
    steps = (torch.ops.quantized_decomposed.quantize_per_tensor.default, torch.ops.quantized_decomposed.dequantize_per_tensor.default)
    nodes = [node for node in graph.graph.nodes if node in between and node.op == "call_function" and node.target not in (*steps, *PASSING)]
    return [f"{operator_of(node)} ({layer_of(node)})" for node in nodes if "dequantize" not in str(node.target)]


def _needed(end: Node) -> set[Node]:
    """`end` and everything that it is computed of."""
    found, waiting = {end}, [end]
    while waiting:
        new = set(waiting.pop().all_input_nodes) - found
        found |= new
        waiting += new
    return found


def features(prefix: GraphModule) -> int:
    """How many values a prefix answers for each sample."""
    (answer,) = outputs_of(prefix)
    return math.prod(int(size) for size in answer.meta["val"].shape[1:])


def first(count: int, differs: Callable[[int], bool]) -> int | None:
    """The first of `count` cuts at which `differs` holds, if it goes on from there to the last; None where the last does not differ.

    `differs` is asked about log2(count) + 1 times.
    """
    if count == 0 or not differs(count - 1):
        return None
    low, high = 0, count - 1
    while low < high:
        middle = (low + high) // 2
        if differs(middle):
            high = middle
        else:
            low = middle + 1
    return low


def _ends(graph: GraphModule) -> list[Node]:
    ops = torch.ops.quantized_decomposed
    nodes = operators(graph, (ops.quantize_per_tensor.default,))
    used = [n for n in nodes if any(user.target == ops.dequantize_per_tensor.default for user in n.users)]
    # What an operator only passes on has a cut before it already.
    return [n for n in used if _source(n).op == "call_function" and _source(n).target != ops.dequantize_per_tensor.default]


def _source(end: Node) -> Node:
    """The operator that computed what a quantize node rounds."""
    node = end.all_input_nodes[0]
    while node.target in PASSING:
        node = node.all_input_nodes[0]
    return node


def _layer(end: Node) -> tuple[str, str]:
    """The layer and the operator that the value of a quantize node comes from."""
    node = _source(end)
    return layer_of(node), operator_of(node)
