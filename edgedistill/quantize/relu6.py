"""Lets the quantizer fuse a ReLU6 with the convolution before it."""

import torch
from torch.fx import GraphModule

from edgedistill.quantize.graph import operators

_ATEN = torch.ops.aten
_PLAIN = {_ATEN.hardtanh.default: _ATEN.relu.default, _ATEN.hardtanh_.default: _ATEN.relu_.default}

Bounds = dict[str, tuple[object, tuple[object, ...]]]


def hide_relu6(graph: GraphModule) -> Bounds:
    """Replace each hardtanh(0, x) by a ReLU, in place; returns the bounds for `show_relu6`, by node name.

    The XNNPACK quantizer of ExecuTorch 1.5 fuses a convolution with ReLU but not with ReLU6. It would also quantize the output of the
    convolution before the activation, including negative values. That halves the resolution, costs an operator, and ONNX Runtime computes
    it in floating point.
    """
    hidden: Bounds = {}
    for node in operators(graph, tuple(_PLAIN)):
        if len(node.args) == 3 and node.args[1] == 0:
            hidden[node.name] = (node.target, node.args[1:])
            node.target, node.args = _PLAIN[node.target], node.args[:1]  # type: ignore[index]
    graph.recompile()
    return hidden


def show_relu6(graph: GraphModule, hidden: Bounds) -> None:
    """Restore the bounds that `hide_relu6` removed, in place. Raises ValueError if a node is missing."""
    nodes = {node.name: node for node in graph.graph.nodes}
    if missing := sorted(set(hidden) - set(nodes)):
        raise ValueError(f"the activations {', '.join(missing)} are gone from the prepared program")
    for name, (target, bounds) in hidden.items():
        nodes[name].target = target  # type: ignore[assignment]
        nodes[name].args = (*nodes[name].args, *bounds)  # type: ignore[assignment]
    graph.recompile()
