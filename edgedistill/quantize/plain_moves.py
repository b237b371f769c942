"""Moves of values that converters do not know, by those that all of them know."""

from typing import Any

import torch
from torch.fx import GraphModule, Node

from edgedistill.quantize.build import call, replace
from edgedistill.quantize.graph import operators

_ATEN = torch.ops.aten
_PADS = (_ATEN.pad.default, _ATEN.constant_pad_nd.default)
_END = 2**63 - 1
_MOST_PARTS = 8


def shuffle_by_reshape(graph: GraphModule) -> int:
    """Write each shuffle of channels as reshape, transpose, reshape, in place; returns how many.

    coremltools does not know `channel_shuffle` (Zhang et al. 2018, arXiv 1707.01083).
    """
    nodes = operators(graph, (_ATEN.channel_shuffle.default,))
    for node in nodes:
        source, groups = node.all_input_nodes[0], node.args[1]
        channels, *rest = source.meta["val"].shape[1:]
        with graph.graph.inserting_before(node):
            made = call(graph, node, _ATEN.reshape.default, source, [-1, groups, channels // groups, *rest])
            made = call(graph, node, _ATEN.transpose.int, made, 1, 2)
            made = call(graph, node, _ATEN.reshape.default, made, [-1, channels, *rest])
        replace(graph, node, made)
    graph.recompile()
    return len(nodes)


def shape_by_numbers(graph: GraphModule) -> int:
    """Write each `reshape_as` and `unflatten` as a reshape to numbers, in place; returns how many.

    The one reads a tensor for its shape alone, and quantization rounds the parts of the other anew.
    """
    shaped = operators(graph, (_ATEN.reshape_as.default, _ATEN.unflatten.int))
    nodes = [node for node in shaped if _sizes(node).count(-1) < 2]
    for node in nodes:
        with graph.graph.inserting_before(node):
            replace(graph, node, call(graph, node, _ATEN.reshape.default, node.args[0], _sizes(node)))
    graph.recompile()
    return len(nodes)


def _sizes(node: Node) -> list[int]:
    """The shape of a call's result, -1 for each size that varies."""
    return [size if isinstance(size, int) else -1 for size in node.meta["val"].shape]


def crop_by_slices(graph: GraphModule) -> int:
    """Write each padding by less than nothing as slices and what is left of the padding, in place; returns how many.

    ExecuTorch's kernel ends with an error, and coremltools refuses it.
    """
    nodes = [node for node in operators(graph, _PADS) if _is_constant(node) and min(node.args[1]) < 0]  # type: ignore[type-var,arg-type]
    for node in nodes:
        made, amounts = node.all_input_nodes[0], list(node.args[1])  # type: ignore[arg-type]
        with graph.graph.inserting_before(node):
            for place, (before, behind) in enumerate(zip(amounts[::2], amounts[1::2], strict=True), 1):
                if before < 0 or behind < 0:
                    axis = made.meta["val"].ndim - place
                    made = call(graph, node, _ATEN.slice.Tensor, made, axis, max(-before, 0), behind if behind < 0 else _END)
            if max(amounts) > 0:
                made = call(graph, node, node.target, made, [max(amount, 0) for amount in amounts], *node.args[2:])
        replace(graph, node, made)
    graph.recompile()
    return len(nodes)


def rotate_by_flips(graph: GraphModule) -> int:
    """Write each rotation by quarter turns as a transpose and flips, in place; returns how many. coremltools does not know `rot90`."""
    nodes = operators(graph, (_ATEN.rot90.default,))
    for node in nodes:
        given: tuple[Any, ...] = (*node.args, *[1, [0, 1]][len(node.args) - 1 :])
        made, turns, (first, second) = given
        with graph.graph.inserting_before(node):
            if turns % 4 in (1, 2):
                made = call(graph, node, _ATEN.flip.default, made, [second])
            if turns % 4 == 2:
                made = call(graph, node, _ATEN.flip.default, made, [first])
            if turns % 2:
                made = call(graph, node, _ATEN.transpose.int, made, first, second)
            if turns % 4 == 3:
                made = call(graph, node, _ATEN.flip.default, made, [second])
        replace(graph, node, made)
    graph.recompile()
    return len(nodes)


def repeat_by_cat(graph: GraphModule) -> int:
    """Write each repetition along one axis as a concatenation, in place; returns how many.

    LiteRT's converter repeats along another axis once it has moved the channels.
    """
    count = 0
    for node in operators(graph, (_ATEN.repeat.default,)):
        source, times = node.all_input_nodes[0], list(node.args[1])  # type: ignore[arg-type]
        repeated = [axis for axis, number in enumerate(times) if number != 1]
        if len(times) != source.meta["val"].ndim or len(repeated) != 1 or not 1 < times[repeated[0]] <= _MOST_PARTS:
            continue
        with graph.graph.inserting_before(node):
            replace(graph, node, call(graph, node, _ATEN.cat.default, [source] * times[repeated[0]], repeated[0]))
        count += 1
    graph.recompile()
    return count


def _is_constant(node: Node) -> bool:
    """Whether a padding puts one number around the values, and not values of them."""
    mode = node.args[2] if node.target == _ATEN.pad.default and len(node.args) > 2 else "constant"
    return mode == "constant"  # type: ignore[no-any-return, return-value]
