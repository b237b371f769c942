"""3D convolutions as 2D ones over stacked planes, for formats whose kernels of convolutions are 2D."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.nn import functional as F

from edgedistill.export.behind import move_behind
from edgedistill.quantize.graph import operators, tensor_of

_ATEN = torch.ops.aten
_AXES = 3


def by_planes(graph: GraphModule) -> int:
    """Make each 3D convolution a 2D one, in place; returns how many.

    The products and sums are the same, with the planes of a kernel's depth as channels. A quantized convolution stays one: what it reads
    and gives is quantized on both sides of the moves, with the scales that it had.
    """
    convolutions = operators(graph, (_ATEN.conv3d.default, _ATEN.conv3d.padding))
    kernels = {node: _flat_weight(graph, node, f"planes_{place}_weight") for place, node in enumerate(convolutions)}
    for node, kernel in kernels.items():
        _replace(graph, node, kernel)
    return len(convolutions)


def _flat_weight(graph: GraphModule, node: Node, name: str) -> list[int]:
    """Give `node` a weight [out, channels * depth, height, width] of that name, through the same quantization; returns the old kernel."""
    chain = [node]
    while (source := chain[-1].args[1 if chain[-1] is node else 0]).op != "get_attr":  # type: ignore[union-attr]
        chain.append(source)  # type: ignore[arg-type]
    weight = tensor_of(graph, source)
    # A constant of its own: what is reshaped at run time is no weight to a delegate.
    graph.register_parameter(name, nn.Parameter(weight.flatten(1, 2).clone(), requires_grad=False))
    with graph.graph.inserting_before(node):
        value = graph.graph.get_attr(name)
        for step in reversed(chain[1:]):
            value = graph.graph.call_function(step.target, (value, *step.args[1:]))  # type: ignore[arg-type]
    node.args = (node.args[0], value, *node.args[2:])
    return list(weight.shape[2:])


def _replace(graph: GraphModule, node: Node, kernel: list[int]) -> None:
    """Put the moves and the 2D convolution in the place of `node`, which has the weight of `_flat_weight`."""
    call = graph.graph.call_function
    arguments: list[Any] = [*node.args, *[None, 1, 0, 1, 1][len(node.args) - 2 :]]
    x, weight, bias, stride, padding, dilation, groups = arguments
    strides, dilations = _each(stride), _each(dilation)
    pads = [_around(padding, axis, kernel[axis], dilations[axis]) for axis in range(_AXES)]
    batch, _, depth = node.meta["val"].shape[:_AXES]
    with graph.graph.inserting_before(node):
        planes = x
        for move, how in ((_padded, (pads,)), (_planes, (kernel[0], strides[0], dilations[0]))):
            planes = call(move, (planes, *how))
            # XNNPACK wants both sides of a move alike, and a quantized convolution reads what was just quantized.
            if _is(x, "dequantize"):
                planes = _requantized(graph, planes, x.args[1:])
        y = call(_ATEN.conv2d.default, (planes, weight, bias, strides[1:], [0, 0], dilations[1:], groups))
    node.replace_all_uses_with(y)
    graph.graph.erase_node(node)
    move_behind(graph, y, _volume, batch, depth)


def _is(node: Node, kind: str) -> bool:
    return str(node.target) == f"quantized_decomposed.{kind}_per_tensor.default"


def _requantized(graph: GraphModule, node: Node, scheme: tuple[Any, ...]) -> Node:
    ops, call = torch.ops.quantized_decomposed, graph.graph.call_function
    return call(ops.dequantize_per_tensor.default, (call(ops.quantize_per_tensor.default, (node, *scheme)), *scheme))


def _padded(x: Tensor, pads: list[tuple[int, int]]) -> Tensor:
    """[N, C, D, H, W] with zeros before and behind its last three axes."""
    return F.pad(x, [amount for pair in reversed(pads) for amount in pair])


def _planes(x: Tensor, depth: int, stride: int, dilation: int) -> Tensor:
    """[N, C, D, H, W] as [N * planes, C * depth, H, W]: for each plane of the result the `depth` planes that it is made of."""
    batch, channels, whole, height, width = x.shape
    x = x.transpose(1, 2).flatten(3)
    last = whole - (depth - 1) * dilation
    planes = torch.stack([x[:, k * dilation : last + k * dilation : stride] for k in range(depth)], 3)
    return planes.reshape(batch * planes.shape[1], channels * depth, height, width)


def _volume(y: Tensor, batch: int, depth: int) -> Tensor:
    """[N * D, C, H, W] as [N, C, D, H, W]."""
    return y.reshape(batch, depth, *y.shape[1:]).transpose(1, 2)


def _each(value: Any) -> list[int]:
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    return values * _AXES if len(values) == 1 else values


def _around(padding: Any, axis: int, size: int, dilation: int) -> tuple[int, int]:
    """Zeros before and behind an axis. As torch does for `same`, the odd one stands behind."""
    if isinstance(padding, str):
        whole = dilation * (size - 1) if padding == "same" else 0
        return whole // 2, whole - whole // 2
    return (_each(padding)[axis],) * 2
