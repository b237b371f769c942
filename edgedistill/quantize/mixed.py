"""Mixed precision: layers of a quantized state that stay in floating point."""

import copy
from collections.abc import Collection

import torch
from torch import nn
from torch.fx import GraphModule, Node

from edgedistill.quantize.graph import WEIGHTED, last_layers, operators
from edgedistill.quantize.state import QuantizedState, state_of


def leave_float(state: QuantizedState, layers: Collection[str]) -> QuantizedState:
    """A copy of `state` in which `layers` (names of nodes, keys of `state.trained`) compute in float32.

    Such a layer has its trained weight and bias. It still reads int8 values from an integer kernel, and its result is quantized for the
    next layer. The result of the last layer before an output is not quantized; the output is then floating point.

    Raises ValueError for a name that is not a quantized layer.
    """
    if unknown := sorted(set(layers) - set(state.trained)):
        raise ValueError(f"found no quantized layers {', '.join(unknown)}, expected some of {', '.join(state.trained)}")
    graph = copy.deepcopy(state.unfolded)
    steps_behind = {layer: steps for layer, steps in last_layers(graph) if layer is not None}
    for node in [n for n in operators(graph, WEIGHTED) if n.name in layers]:
        trained = state.trained[node.name]
        bias = None if trained.bias is None else _constant(graph, node, "bias", trained.bias)
        node.args = (node.args[0], _constant(graph, node, "weight", trained.weight), bias, *node.args[3:])
        for step in steps_behind.get(node, ()):
            step.replace_all_uses_with(step.args[0])  # type: ignore[arg-type]
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return state_of(graph, state.output_scale, state.temperature, {k: v for k, v in state.trained.items() if k not in layers})


def _constant(graph: GraphModule, node: Node, kind: str, value: torch.Tensor) -> Node:
    name = f"float_{node.name}_{kind}"
    setattr(graph, name, nn.Parameter(value, requires_grad=False))
    with graph.graph.inserting_before(node):
        return graph.graph.get_attr(name)
