"""Splits of an exported graph, as slices and selections."""

import operator

import torch
from torch.fx import GraphModule, Node

from edgedistill.quantize.build import call, replace
from edgedistill.quantize.graph import operators

_ATEN = torch.ops.aten
_SPLITS = (
    _ATEN.split.Tensor, _ATEN.split_with_sizes.default, _ATEN.chunk.default, _ATEN.tensor_split.sections, _ATEN.unsafe_chunk.default,
)  # fmt: skip


def select_parts(graph: GraphModule) -> int:
    """Replace each part of an unbind by a selection, in place; returns how many parts. LiteRT's converter mixes up the scales of parts."""
    count = 0
    for node in operators(graph, (_ATEN.unbind.int,)):
        axis = node.args[1] if len(node.args) > 1 else 0
        if any(user.target != operator.getitem for user in node.users):
            continue
        for part in list(node.users):
            with graph.graph.inserting_before(part):
                replace(graph, part, call(graph, part, _ATEN.select.int, node.args[0], axis, part.args[1]))
            count += 1
        graph.graph.erase_node(node)
    graph.recompile()
    return count


def slice_parts(graph: GraphModule) -> int:
    """Replace each selection from an axis that a reshape made of another by a slice of that one, in place; returns how many.

    x [N, 3 * 8, H, W] as [N, 3, 8, H, W], of which one of three is selected, is a slice of eight channels. LiteRT's converter moves a sum
    of such selections before what drops their axis, and mixes up the scales.
    """
    nodes = [node for node in operators(graph, (_ATEN.select.int,)) if _is_part(node)]
    for node in nodes:
        reshape, axis, place = node.args
        size = node.meta["val"].shape[axis]
        start = place % reshape.meta["val"].shape[axis] * size  # type: ignore[operator, union-attr]
        with graph.graph.inserting_before(node):
            made = call(graph, node, _ATEN.slice.Tensor, reshape.args[0], axis, start, start + size)  # type: ignore[union-attr]
        replace(graph, node, made)
    if nodes:
        graph.graph.eliminate_dead_code()
        graph.recompile()
    return len(nodes)


def _is_part(node: Node) -> bool:
    """Whether a selection is from the first of two axes that a reshape made of one."""
    source, axis = node.all_input_nodes[0], int(node.args[1])  # type: ignore[arg-type]
    if source.target not in (_ATEN.reshape.default, _ATEN.view.default) or axis < 0:
        return False
    before, after = (list(value.meta["val"].shape) for value in (source.all_input_nodes[0], source))
    if len(after) != len(before) + 1 or not all(isinstance(size, int) for size in after[axis : axis + 2]):
        return False
    return before == [*after[:axis], after[axis] * after[axis + 1], *after[axis + 2 :]]


def split_by_slices(graph: GraphModule) -> int:
    """Replace each part of a split by a slice, in place; returns how many parts.

    XNNPACK has slices and no splits, so that a split ends a partition: 13 of them made 15 parts of a shufflenet_v2_x0_5.
    """
    count = 0
    for node in operators(graph, _SPLITS):
        parts = node.meta["val"]
        axis = (node.args[2] if len(node.args) > 2 else 0) % parts[0].ndim  # type: ignore[operator]
        sizes = [part.shape[axis] for part in parts]
        if not all(isinstance(size, int) for size in sizes) or any(user.target != operator.getitem for user in node.users):
            continue
        for part in list(node.users):
            place = int(part.args[1])  # type: ignore[arg-type]
            start = sum(sizes[:place])
            with graph.graph.inserting_before(part):
                made = call(graph, part, _ATEN.slice.Tensor, node.args[0], axis, start, start + sizes[place])
            replace(graph, part, made)
            count += 1
        graph.graph.erase_node(node)
    graph.recompile()
    return count
