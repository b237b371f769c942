"""Activations of an exported graph in the form that converters know."""

import operator

import torch
from torch.fx import GraphModule

from edgedistill.quantize.build import call, replace
from edgedistill.quantize.graph import operators

_ATEN = torch.ops.aten
_BOUNDED = (
    _ATEN.hardtanh.default, _ATEN.hardtanh_.default, _ATEN.clamp.default, _ATEN.clamp_.default, _ATEN.threshold.default,
    _ATEN.threshold_.default, _ATEN.leaky_relu.default, _ATEN.leaky_relu_.default, _ATEN.elu.default, _ATEN.elu_.default,
)  # fmt: skip


def plain_activations(graph: GraphModule) -> int:
    """Write RReLU as the leaky ReLU that it is after training, and whole numbers beside floating point as such, in place; returns how many.

    Converters have no RReLU (Xu et al. 2015, arXiv 1505.00853), and coremltools refuses an integer bound of a floating-point tensor.
    """
    return _leaky(graph) + _bounded(graph) + _float_bounds(graph)


def _bounded(graph: GraphModule) -> int:
    """Write each clamp between numbers as the hardtanh that it is: the quantizer keeps the scale of its input only there."""
    most = torch.finfo(torch.float32).max
    nodes = [node for node in operators(graph, (_ATEN.clamp.default, _ATEN.clamp_.default)) if node.meta["val"].dtype == torch.float32]
    for node in nodes:
        low, high = (*node.args[1:], None, None)[:2]
        node.target, node.kwargs = _ATEN.hardtanh.default, {}
        node.args = (node.args[0], -most if low is None else float(low), most if high is None else float(high))  # type: ignore[arg-type]
    graph.recompile()
    return len(nodes)


def _leaky(graph: GraphModule) -> int:
    nodes = operators(graph, (_ATEN.rrelu.default, _ATEN.rrelu_.default, _ATEN.rrelu_with_noise_functional.default))
    for node in nodes:
        noisy = node.target == _ATEN.rrelu_with_noise_functional.default
        low, high = (*node.args[2 if noisy else 1 :], *(1 / 8, 1 / 3)[max(0, len(node.args) - (2 if noisy else 1)) :])[:2]
        answers = [user for user in node.users if user.target == operator.getitem and user.args[1] == 0] if noisy else [node]
        for answer in answers:
            with graph.graph.inserting_before(node):
                made = call(graph, answer, _ATEN.leaky_relu.default, node.args[0], (low + high) / 2)  # type: ignore[operator]
            replace(graph, answer, made)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return len(nodes)


def _float_bounds(graph: GraphModule) -> int:
    count = 0
    for node in operators(graph, _BOUNDED):
        if not node.meta["val"].is_floating_point():
            continue
        bounds = tuple(float(bound) if type(bound) is int else bound for bound in node.args[1:])
        count += any(type(bound) is int for bound in node.args[1:])
        node.args = (node.args[0], *bounds)
    graph.recompile()
    return count
