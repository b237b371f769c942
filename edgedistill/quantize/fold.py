"""Folds the batch norms of an exported graph, float or under QAT, into their convolutions."""

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from edgedistill.quantize.graph import CONVOLUTIONS, operators, tensor_of

_ATEN = torch.ops.aten


def fold_batchnorm(graph: GraphModule) -> int:
    """Fold each simulated convolution and batch norm into one convolution, in place; returns how many.

    QAT trains bn(conv(x, fq(w * s)) / s + b) with s = gamma / sqrt(var + eps) (Krishnamoorthi 2018, arXiv 1806.08342, section
    3.2.2). In evaluation that is conv(x, fq(w * s)) + (b - mean) * s + beta: the same fake-quantized weights and a bias.

    torchao's convert_pt2e does it as well, by tracing 96 patterns (30 s on 2 cores for any model). A graph without batch norm avoids that.
    """
    count = 0
    for norm in operators(graph, (_ATEN.batch_norm.default,)):
        bias, scaled = _without_bias(norm.args[0])
        convolution = scaled.args[0] if scaled.target == _ATEN.div.Tensor else None
        if not isinstance(convolution, Node) or not isinstance(weight := convolution.args[1], Node):
            continue
        product = next(iter(weight.all_input_nodes), None)
        if product is None or product.target != _ATEN.mul.Tensor:
            continue
        gamma, beta, mean, variance = of_norm(graph, norm)
        scale = gamma / torch.sqrt(variance + float(norm.args[7]))  # type: ignore[arg-type]
        kernel = tensor_of(graph, product.args[0])
        product.replace_all_uses_with(_parameter(graph, product, f"folded_{count}_weight", kernel * by_channel(scale, kernel)))
        before = tensor_of(graph, bias) if bias is not None else torch.zeros_like(mean)
        folded = _parameter(graph, convolution, f"folded_{count}_bias", (before - mean) * scale + beta)
        convolution.args = (*convolution.args[:2], folded, *convolution.args[3:])
        norm.replace_all_uses_with(convolution)
        count += 1
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return count


def fold_float(graph: GraphModule) -> int:
    """Fold each batch norm directly after a convolution of a float graph into it, in place; returns how many.

    Converters do it as well, but then each would compute a different float32 weight, and the factor of a channel would move values off a
    table that is shared by the whole tensor.
    """
    count = 0
    for norm in operators(graph, (_ATEN.batch_norm.default,)):
        convolution = norm.args[0]
        if not isinstance(convolution, Node) or convolution.target not in CONVOLUTIONS or len(convolution.users) > 1:
            continue
        gamma, beta, mean, variance = of_norm(graph, norm)
        scale = gamma / torch.sqrt(variance + float(norm.args[7]))  # type: ignore[arg-type]
        source, weight, bias, *options = (*convolution.args, None)[: max(3, len(convolution.args))]
        before = torch.zeros_like(mean) if bias is None else tensor_of(graph, bias)
        kernel = tensor_of(graph, weight)
        parts = {"weight": kernel * by_channel(scale, kernel), "bias": (before - mean) * scale + beta}
        folded = [_parameter(graph, convolution, f"folded_{count}_{name}", value) for name, value in parts.items()]
        convolution.args = (source, *folded, *options)
        norm.replace_all_uses_with(convolution)
        count += 1
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return count


def fold_layernorm(graph: GraphModule) -> int:
    """Move weight and bias of each layer norm into the linear layers after it, if only linear layers follow, in place; returns how many.

    LiteRT's converter does so with the weight, and the layers would then leave their grid (by up to 15 int8 steps).
    """
    count = 0
    for norm in operators(graph, (_ATEN.layer_norm.default,)):
        source, shape, gamma, beta, *options = (*norm.args, None, None)[: max(4, len(norm.args))]
        layers = list(norm.users)
        if gamma is None or any(layer.target != _ATEN.linear.default or layer.args[0] is not norm for layer in layers):
            continue
        for layer in layers:
            weight, bias = (*layer.args[1:], None)[:2]
            kernel = tensor_of(graph, weight)
            shift = torch.zeros(len(kernel)) if bias is None else tensor_of(graph, bias)
            if beta is not None:
                shift = shift + kernel @ tensor_of(graph, beta)
            parts = {"weight": kernel * tensor_of(graph, gamma), "bias": shift}
            folded = [_parameter(graph, layer, f"normed_{count}_{name}", value) for name, value in parts.items()]
            layer.args = (norm, *folded)
            count += 1
        norm.args = (source, shape, None, None, *options)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return count


def of_norm(graph: GraphModule, norm: Node) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Weight, bias, mean and variance of a batch norm, each [C]; weight and bias are 1 and 0 where it has none."""
    mean, variance = (tensor_of(graph, argument) for argument in norm.args[3:5])
    gamma, beta = (
        default(mean) if argument is None else tensor_of(graph, argument)
        for default, argument in zip((torch.ones_like, torch.zeros_like), norm.args[1:3], strict=True)
    )
    return gamma, beta, mean, variance


def by_channel(values: Tensor, weight: Tensor) -> Tensor:
    """`values` [out], reshaped to multiply a weight [out, ...]."""
    return values.reshape(-1, *[1] * (weight.ndim - 1))


def _without_bias(node: object) -> tuple[Node | None, Node]:
    """The bias that the pattern adds after the convolution, if any, and the node to which it is added."""
    assert isinstance(node, Node)
    if node.target == _ATEN.add.Tensor and isinstance(reshaped := node.args[1], Node) and reshaped.target == _ATEN.reshape.default:
        return reshaped.args[0], node.args[0]  # type: ignore[return-value]
    return None, node


def _parameter(graph: GraphModule, before: Node, name: str, value: Tensor) -> Node:
    setattr(graph, name, nn.Parameter(value.detach(), requires_grad=False))
    with graph.graph.inserting_before(before):
        return graph.graph.get_attr(name)
