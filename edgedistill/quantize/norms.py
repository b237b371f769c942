"""Batch norms that stand behind no convolution, as linear layers and convolutions."""

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from edgedistill.quantize.build import call, constant, replace
from edgedistill.quantize.fold import of_norm
from edgedistill.quantize.graph import CONVOLUTIONS, TRANSPOSED, operators, tensor_of

_ATEN = torch.ops.aten
_RESHAPES = (_ATEN.flatten.using_ints, _ATEN.view.default, _ATEN.reshape.default)
_FOLDED: tuple[object, ...] = (*CONVOLUTIONS, *TRANSPOSED)
"""Layers that training in int8 folds the norm behind them into, see `fold`."""


def settle_norms(graph: GraphModule) -> int:
    """Fold each batch norm beside a linear layer into it, and make a depthwise convolution of one behind anything else; returns how many.

    Both are changed in place. The norm has to be in evaluation mode, where it multiplies each channel and adds to it. Kernels in integers
    have no batch norm, so that it would be computed in floating point between two roundings. Behind a convolution it stays.
    """
    count = 0
    for norm in operators(graph, (_ATEN.batch_norm.default,)):
        source = norm.all_input_nodes[0]
        if norm.args[5] or (source.target in _FOLDED and len(source.users) == 1):
            continue
        factor, shift = affine(graph, norm)
        made: Node | None = source
        if (before := _before(norm, len(factor))) is not None:
            weight, bias = _parts(graph, before)
            _set(graph, before, f"norm_{count}", weight * factor[:, None], bias * factor + shift)
        elif after := _after(norm):
            for place, layer in enumerate(after):
                weight, bias = _parts(graph, layer)
                _set(graph, layer, f"norm_{count}_{place}", weight * factor, bias + weight @ shift)
        elif norm.meta["val"].ndim == 4:
            made = _depthwise(graph, norm, f"norm_{count}", factor, shift)
        else:
            made = None
        if made is not None:
            replace(graph, norm, made)
            count += 1
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return count


def affine(graph: GraphModule, norm: Node) -> tuple[Tensor, Tensor]:
    """What a batch norm multiplies each channel by, and adds to it, [C] each."""
    gamma, beta, mean, variance = of_norm(graph, norm)
    factor = gamma * torch.rsqrt(variance + float(norm.args[7]))  # type: ignore[arg-type]
    return factor.detach(), (beta - mean * factor).detach()


def _before(norm: Node, channels: int) -> Node | None:
    """The linear layer whose outputs the norm scales, through reshapes that keep them; None where there is none."""
    node = norm.args[0] if norm.meta["val"].ndim == 2 else None
    while isinstance(node, Node) and len(node.users) == 1 and int(node.meta["val"].shape[-1]) == channels:
        if _is_layer(node):
            return node
        node = node.args[0] if node.target in _RESHAPES else None
    return None


def _after(norm: Node) -> list[Node]:
    """The linear layers that read the norm; none where something else does."""
    readers = list(norm.users)
    alike = norm.meta["val"].ndim == 2 and all(_is_layer(reader) and reader.args[0] is norm for reader in readers)
    return readers if alike else []


def _is_layer(node: Node) -> bool:
    parts = [part for part in node.args[1:] if part is not None]
    return node.target == _ATEN.linear.default and all(isinstance(part, Node) and part.op == "get_attr" for part in parts)


def _parts(graph: GraphModule, layer: Node) -> tuple[Tensor, Tensor]:
    """Weight [out, in] and bias [out] of a linear layer."""
    weight, *biases = (tensor_of(graph, part).detach() for part in layer.args[1:] if part is not None)
    return weight, biases[0] if biases else torch.zeros(len(weight))


def _set(graph: GraphModule, layer: Node, name: str, weight: Tensor, bias: Tensor) -> None:
    with graph.graph.inserting_before(layer):
        made = [constant(graph, layer, f"{name}_{kind}", nn.Parameter(value)) for kind, value in (("weight", weight), ("bias", bias))]
    layer.args = (layer.args[0], *made)


def _depthwise(graph: GraphModule, norm: Node, name: str, factor: Tensor, shift: Tensor) -> Node:
    with graph.graph.inserting_before(norm):
        weight = constant(graph, norm, f"{name}_weight", nn.Parameter(factor.reshape(-1, 1, 1, 1)))
        bias = constant(graph, norm, f"{name}_bias", nn.Parameter(shift))
        return call(graph, norm, _ATEN.conv2d.default, norm.args[0], weight, bias, [1, 1], [0, 0], [1, 1], len(factor))
