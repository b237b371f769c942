"""Means over an image and adaptive poolings, as what every runtime has."""

import operator
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from edgedistill.quantize.build import call, constant, replace
from edgedistill.quantize.graph import operators

_ATEN = torch.ops.aten
_RANK = 4


def keep_means(graph: GraphModule) -> int:
    """Let each mean over height and width keep both as 1, and flatten it behind, in place; returns how many.

    XNNPACK takes a mean of an image only if it keeps its dimensions.
    """
    count = 0
    for node in operators(graph, (_ATEN.mean.dim,)):
        source, dims, *keeps = node.args
        if source.meta["val"].ndim != _RANK or sorted(dim % _RANK for dim in dims) != [2, 3] or any(keeps) or node.kwargs:  # type: ignore
            continue
        with graph.graph.inserting_before(node):
            mean = call(graph, node, _ATEN.mean.dim, source, [-1, -2], True)
            made = call(graph, node, _ATEN.flatten.using_ints, mean, 1)
        replace(graph, node, made)
        count += 1
    graph.recompile()
    return count


def pool_by_windows(graph: GraphModule) -> int:
    """Replace each adaptive pooling to more than one value by poolings with windows, in place; returns how many.

    No runtime has adaptive pooling. Window i of an axis of n values, of m windows, begins at floor(i n / m) and ends before
    ceil((i + 1) n / m). If m divides n, all windows are alike. Else a maximum is taken window by window; an average is a product with the
    matrix of the windows along each axis.
    """
    count = 0
    for node in operators(graph, (_ATEN.adaptive_avg_pool2d.default, _ATEN.adaptive_max_pool2d.default)):
        source, wanted = node.args[:2]
        extents = source.meta["val"].shape[2:]  # type: ignore[union-attr]
        average = node.target == _ATEN.adaptive_avg_pool2d.default
        sizes = [extent if size is None else size for size, extent in zip(_pair(wanted), extents, strict=True)]
        if not all(isinstance(extent, int) for extent in extents) or (average and sizes == [1, 1]):
            continue
        read = [user for user in node.users if user.users]
        answers = [node] if average else [user for user in read if user.target == operator.getitem and user.args[1] == 0]
        if not average and len(answers) < len(read):
            # Somebody reads the places of the largest values.
            continue
        with graph.graph.inserting_before(node):
            pool = _average if average else _maximum
            made = pool(graph, answers[0], source, extents, sizes, f"windows_{count}")
        for answer in answers:
            replace(graph, answer, made)
        count += 1
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return count


def _maximum(graph: GraphModule, like: Node, x: Any, extents: list[int], sizes: list[int], _: str) -> Node:
    if all(extent % size == 0 for extent, size in zip(extents, sizes, strict=True)):
        window = [extent // size for extent, size in zip(extents, sizes, strict=True)]
        return call(graph, like, _ATEN.max_pool2d.default, x, window, window)
    for axis, (extent, size) in enumerate(zip(extents, sizes, strict=True)):
        parts = []
        for start, stop in _windows(extent, size):
            part = call(graph, like, _ATEN.slice.Tensor, x, 2 + axis, start, stop)
            window = [stop - start, 1] if axis == 0 else [1, stop - start]
            parts.append(call(graph, like, _ATEN.max_pool2d.default, part, window, [1, 1]))
        x = parts[0] if len(parts) == 1 else call(graph, like, _ATEN.cat.default, parts, 2 + axis)
    return x


def _average(graph: GraphModule, like: Node, x: Any, extents: list[int], sizes: list[int], name: str) -> Node:
    if all(extent % size == 0 for extent, size in zip(extents, sizes, strict=True)):
        window = [extent // size for extent, size in zip(extents, sizes, strict=True)]
        return call(graph, like, _ATEN.avg_pool2d.default, x, window, window)
    # Width, then height, each as the last axis.
    for axis in (1, 0):
        weight = constant(graph, like, f"{name}_{axis}", _matrix(extents[axis], sizes[axis]))
        x = call(graph, like, _ATEN.linear.default, x, weight)
        x = call(graph, like, _ATEN.transpose.int, x, 2, 3)
    return x


def _matrix(extent: int, size: int) -> Tensor:
    """[size, extent]: row i averages the values of window i."""
    matrix = torch.zeros(size, extent)
    for row, (start, stop) in enumerate(_windows(extent, size)):
        matrix[row, start:stop] = 1 / (stop - start)
    return matrix


def _windows(extent: int, size: int) -> list[tuple[int, int]]:
    return [(i * extent // size, -(-(i + 1) * extent // size)) for i in range(size)]


def _pair(value: Any) -> list[Any]:
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    return values * 2 if len(values) == 1 else values
