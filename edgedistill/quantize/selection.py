"""The k largest values of a tensor, as k maxima one after the other."""

import math
import operator
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from edgedistill.quantize.build import call, constant, replace
from edgedistill.quantize.graph import operators

_ATEN = torch.ops.aten
_IMAGE_RANK = 4
_MOST = 16
"""Each of the k values costs a pass over the tensor: more of them are left to the runtime."""


def choose_in_rounds(graph: GraphModule) -> int:
    """Write each topk of at most 16 values as rounds of argmax, in place; returns how many.

    LiteRT's runtime has no topk that its converter writes. Of equal values, of which int8 has many, each runtime takes another one,
    where argmax takes the first in all of them.
    """
    chosen = [node for node in operators(graph, (_ATEN.topk.default,)) if _is_small(node)]
    for node in chosen:
        with graph.graph.inserting_before(node):
            parts = _rounds(graph, node)
        for part in list(node.users):
            replace(graph, part, parts[part.args[1]])  # type: ignore[index]
        graph.graph.erase_node(node)
    if chosen:
        graph.graph.eliminate_dead_code()
        graph.recompile()
    return len(chosen)


def _is_small(node: Node) -> bool:
    count, (axis, _) = node.args[1], _order(node)
    size = node.args[0].meta["val"].shape[axis] if node.args[0].meta["val"].ndim else None  # type: ignore[union-attr]
    parts = all(user.target == operator.getitem for user in node.users)
    return parts and isinstance(size, int) and isinstance(count, int) and 0 < count <= _MOST


def _order(node: Node) -> tuple[int, bool]:
    """The axis of a topk, and whether it chooses the largest values."""
    axis, largest = (node.args[2:4] + (-1, True)[len(node.args[2:4]) :])[:2]
    return int(axis), bool(largest)  # type: ignore[arg-type]


def _rounds(graph: GraphModule, node: Node) -> tuple[Node, Node]:
    """The values and the places of a topk."""
    (axis, largest), count = _order(node), int(node.args[1])  # type: ignore[arg-type]
    # The smallest are the largest of the negated values: Core AI has no argmin.
    values: Any = node.args[0] if largest else call(graph, node, _ATEN.neg.default, node.args[0])
    image = values.meta["val"].shape
    if channels := len(image) == _IMAGE_RANK and axis in (1, 1 - _IMAGE_RANK):
        # LiteRT's converter moves the channels of some of the operands behind height and width.
        values, axis = call(graph, node, _ATEN.flatten.using_ints, values, 2), 1
    numbers = constant(graph, node, "places", _along(axis, shape := values.meta["val"].shape))
    never = constant(graph, node, "never", torch.full([1] * len(shape), -math.inf))
    found: list[tuple[Node, Node]] = []
    for turn in range(count):
        place = call(graph, node, _ATEN.argmax.default, values, axis, True)
        found.append((call(graph, node, _ATEN.amax.default, values, [axis], True), place))
        if turn < count - 1:
            taken = call(graph, node, _ATEN.eq.Tensor, numbers, place)
            values = call(graph, node, _ATEN.where.self, taken, never, values)
    best, places = (call(graph, node, _ATEN.cat.default, list(parts), axis) for parts in zip(*found, strict=True))
    if channels:
        best, places = (call(graph, node, _ATEN.reshape.default, made, [-1, count, *image[2:]]) for made in (best, places))
    return best if largest else call(graph, node, _ATEN.neg.default, best), places


def _along(axis: int, shape: torch.Size) -> Tensor:
    """The numbers from 0 along `axis`, int64, with one element along every other."""
    sizes = [1] * len(shape)
    sizes[axis] = shape[axis]
    return torch.arange(shape[axis]).reshape(sizes)
