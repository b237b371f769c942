"""Lets the quantizer take a ReLU6 as one with the convolution before it."""

import torch
from torch.fx import GraphModule

from edgedistill.quantize.graph import operators

_ATEN = torch.ops.aten
_PLAIN = {_ATEN.hardtanh.default: _ATEN.relu.default, _ATEN.hardtanh_.default: _ATEN.relu_.default}

Bounds = dict[str, tuple[object, tuple[object, ...]]]


def hide_relu6(graph: GraphModule) -> Bounds:
    """Make each hardtanh(0, x) a ReLU, in place; returns what `show_relu6` puts back, by the node's name.

    The XNNPACK quantizer of ExecuTorch 1.5 knows ReLU behind a convolution and not ReLU6: it would quantize the convolution's output before
    the activation as well, negative values included. That halves the resolution of what follows, costs an operator, and ONNX Runtime
    computes it in floating point.
    """
    hidden: Bounds = {}
    for node in operators(graph, tuple(_PLAIN)):
        if len(node.args) == 3 and node.args[1] == 0:
            hidden[node.name] = (node.target, node.args[1:])
            node.target, node.args = _PLAIN[node.target], node.args[:1]  # type: ignore[index]
    graph.recompile()
    return hidden


def show_relu6(graph: GraphModule, hidden: Bounds) -> None:
    """Put back the bounds that `hide_relu6` took, in place; ValueError where a node is gone."""
    nodes = {node.name: node for node in graph.graph.nodes}
    if missing := sorted(set(hidden) - set(nodes)):
        raise ValueError(f"the activations {', '.join(missing)} are gone from the prepared program")
    for name, (target, bounds) in hidden.items():
        nodes[name].target = target  # type: ignore[assignment]
        nodes[name].args = (*nodes[name].args, *bounds)  # type: ignore[assignment]
    graph.recompile()
