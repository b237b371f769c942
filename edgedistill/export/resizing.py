"""Resizing that converters do not know, or take for another one: as products with matrices, or as a choice of rows and columns."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from edgedistill.quantize.build import call, constant, replace
from edgedistill.quantize.graph import operators

_ATEN = torch.ops.aten
_INTERPOLATIONS = (
    _ATEN._upsample_bilinear2d_aa.vec, _ATEN._upsample_bicubic2d_aa.vec, _ATEN.upsample_bicubic2d.vec, _ATEN.upsample_trilinear3d.vec,
)  # fmt: skip
_NEAREST: dict[Any, Any] = {
    _ATEN.upsample_nearest1d.vec: None, _ATEN.upsample_nearest2d.vec: None, _ATEN.upsample_nearest3d.vec: None,
    _ATEN._upsample_nearest_exact1d.vec: _ATEN.upsample_nearest1d.vec, _ATEN._upsample_nearest_exact2d.vec: _ATEN.upsample_nearest2d.vec,
    _ATEN._upsample_nearest_exact3d.vec: _ATEN.upsample_nearest3d.vec,
}  # fmt: skip
"""Each with the operator that does the same where sizes are multiplied by whole numbers."""
_FIRST, _OTHER = 2, 2
"""The axis of an image behind batch and channels, and the size of the axes that a matrix is not for."""


def resize_by_products(graph: GraphModule) -> int:
    """Write a bilinear resizing by a factor that does not divide as products with matrices, in place; returns how many.

    With a factor of 1.3 torch steps by 1 / 1.3, XNNPACK and LiteRT by the ratio of the rounded sizes, and coremltools
    refuses it. Interpolation is linear along each axis: a product with a matrix.
    """
    uneven = []
    for node in operators(graph, (_ATEN.upsample_bilinear2d.vec,)):
        factors = _arguments(node)[3]
        before, after = _sizes(node)
        if factors and any(size * factor != wanted for size, factor, wanted in zip(before, factors, after, strict=True)):
            uneven.append(node)
    return _by_products(graph, uneven)


def interpolate_by_products(graph: GraphModule) -> int:
    """Write bicubic, trilinear and antialiased resizing as products with matrices, in place; returns how many.

    coremltools and LiteRT's converter do not know them; coremltools takes a bilinear one that is antialiased for one that is not.
    """
    return _by_products(graph, operators(graph, _INTERPOLATIONS))


def choose_nearest(graph: GraphModule) -> int:
    """Write resizing to the nearest value as a choice of rows and columns where sizes do not divide, in place; returns how many.

    LiteRT rounds the place of the nearest value otherwise, and coremltools does with factors. Where sizes are multiplied by
    whole numbers all agree, `nearest-exact` included.
    """
    count = 0
    for node in operators(graph, tuple(_NEAREST)):
        source, places = node.all_input_nodes[0], _places(node)
        if all(_repeats(chosen, size) for chosen, size in zip(places, _sizes(node)[0], strict=True)):
            if plain := _NEAREST[node.target]:
                node.target = plain
                count += 1
            continue
        with graph.graph.inserting_before(node):
            x = source
            for axis, chosen in enumerate(places, _FIRST):
                x = call(graph, node, _ATEN.index_select.default, x, axis, constant(graph, node, f"nearest_{count}_{axis}", chosen))
        replace(graph, node, x)
        count += 1
    return count


def _arguments(node: Node) -> tuple[Any, ...]:
    """Of an interpolation: its source, size, whether it aligns the corners, and its factors."""
    return (*node.args, None)[:4]


def _sizes(node: Node) -> tuple[list[int], list[int]]:
    """The sizes of the image before and after."""
    before, after = (list(n.meta["val"].shape[_FIRST:]) for n in (node.all_input_nodes[0], node))
    return before, after


def _by_products(graph: GraphModule, nodes: list[Node]) -> int:
    for count, node in enumerate(nodes):
        with graph.graph.inserting_before(node):
            x = node.all_input_nodes[0]
            for axis in reversed(range(len(_sizes(node)[0]))):
                matrix = constant(graph, node, f"{node.name}_{count}_{axis}", _interpolation(node, axis))
                x = call(graph, node, _along, x, matrix, axis + _FIRST)
        replace(graph, node, x)
    return len(nodes)


def _interpolation(node: Node, axis: int) -> Tensor:
    """[wanted, size]: what the resizing `node` makes of each unit vector along an axis of the image."""
    _, _, align, factors = _arguments(node)
    size = _sizes(node)[0][axis]
    return _alone(node, axis, torch.eye(size), factors, align).T.contiguous()


def _alone(node: Node, axis: int, rows: Tensor, factors: list[float] | None, *options: object) -> Tensor:
    """[N, wanted]: what the resizing `node` makes of `rows` [N, size] along an axis of the image.

    The other axes have two values: torch's antialiased kernel is wrong for images of one column.
    """
    before, after = _sizes(node)
    axes = range(len(before))
    scales = [factors[axis] if place == axis else 1.0 for place in axes] if factors else None
    wanted = None if scales else [after[axis] if place == axis else _OTHER for place in axes]
    images = rows.reshape(len(rows), 1, *(before[axis] if place == axis else 1 for place in axes))
    images = images.expand(len(rows), 1, *(before[axis] if place == axis else _OTHER for place in axes)).contiguous()
    made = node.target(images, wanted, *options, scales)  # type: ignore[operator]
    return made.movedim(_FIRST + axis, 1).flatten(2)[:, :, 0]


def _along(x: Tensor, matrix: Tensor, axis: int) -> Tensor:
    """`x` by `matrix` [m, n] along an axis of n values."""
    if axis == x.ndim - 1:
        return torch.nn.functional.linear(x, matrix)
    return torch.nn.functional.linear(x.transpose(axis, -1), matrix).transpose(axis, -1)


def _places(node: Node) -> list[Tensor]:
    """Which rows, columns and planes a resizing to the nearest value takes, int64 [wanted] for each axis."""
    _, _, factors = (*node.args, None)[:3]
    numbers = [torch.arange(float(size))[None] for size in _sizes(node)[0]]
    return [_alone(node, axis, row, factors)[0].long() for axis, row in enumerate(numbers)]  # type: ignore[arg-type]


def _repeats(chosen: Tensor, size: int) -> bool:
    """Whether each of `size` values is taken equally often, in order."""
    times = math.ceil(len(chosen) / size)
    return torch.equal(chosen, torch.arange(size).repeat_interleave(times))
