"""Resizing by factors that do not divide, which converters take for another one."""

from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from edgedistill.quantize.graph import operators

_ATEN = torch.ops.aten


def resize_by_products(graph: GraphModule) -> int:
    """Write a bilinear resizing by a factor that does not divide as products with matrices, in place; returns how many.

    With a factor of 1.3 torch steps by 1 / 1.3, XNNPACK and LiteRT by the ratio of the rounded sizes, and coremltools
    refuses it. Interpolation is linear along each axis: a product with a matrix.
    """
    count = 0
    for node in operators(graph, (_ATEN.upsample_bilinear2d.vec,)):
        source, _, _, factors = _resizing(node)
        before, after = (n.meta["val"].shape[2:] for n in (source, node))
        if not factors or all(size * factor == wanted for size, factor, wanted in zip(before, factors, after, strict=True)):
            continue
        with graph.graph.inserting_before(node):
            x = source
            for axis in (1, 0):
                name = f"resizing_{count}_{axis}"
                graph.register_buffer(name, _interpolation(node, axis, int(before[axis])))
                x = graph.graph.call_function(_along_last, (x, graph.graph.get_attr(name)))
        node.replace_all_uses_with(x)
        graph.graph.erase_node(node)
        count += 1
    return count


def _resizing(node: Node) -> tuple[Any, ...]:
    """Its source, size, whether it aligns the corners, and its factors."""
    return (*node.args, None)[:4]


def _interpolation(node: Node, axis: int, size: int) -> Tensor:
    """[wanted, size]: what the resizing `node` makes of each unit vector along an axis."""
    _, _, align, factors = _resizing(node)
    scales = [1.0, 1.0]
    scales[axis] = factors[axis]
    shape = [size, 1] if axis == 0 else [1, size]
    units = torch.eye(size).reshape(size, 1, *shape)
    return _ATEN.upsample_bilinear2d.vec(units, None, align, scales).reshape(size, -1).T.contiguous()


def _along_last(x: Tensor, matrix: Tensor) -> Tensor:
    """`x` [..., n] by `matrix` [m, n], with the last two axes swapped."""
    return torch.nn.functional.linear(x, matrix).transpose(2, 3)
