"""Replaces average pooling by a convolution, which all integer runtimes compute alike."""

from typing import Any

import torch
from torch.fx import GraphModule, Node

from edgedistill.quantize.graph import operators

_ATEN = torch.ops.aten
_NAME = "pooling_"


def pool_by_convolution(graph: GraphModule) -> int:
    """Replace each average pooling with windows of equal size by a depthwise convolution; returns how many.

    An integer average pooling has the same scale for its input and output, so that with 2x2 windows every fourth result lies exactly
    between two steps. LiteRT rounds it away from zero, the other runtimes to even, and the results differ by half an LSB on average. A
    convolution with weights 1/(kh*kw), which int8 stores exactly, has its own scale.
    """
    count = 0
    for node in operators(graph, (_ATEN.avg_pool2d.default,)):
        window = _window(node)
        if window is None:
            continue
        kernel, stride, padding, channels = window
        name = f"{_NAME}{count}_weight"
        weights = torch.full((channels, 1, *kernel), 1 / (kernel[0] * kernel[1]))
        graph.register_buffer(name, weights)
        with graph.graph.inserting_before(node):
            weight = graph.graph.get_attr(name)
            convolution = graph.graph.call_function(_ATEN.conv2d.default, (node.args[0], weight, None, stride, padding, [1, 1], channels))
        convolution.meta = dict(node.meta)
        # The quantizer needs the shape of every node.
        weight.meta = {"val": node.meta["val"].fake_mode.from_tensor(weights)}
        node.replace_all_uses_with(convolution)
        graph.graph.erase_node(node)
        count += 1
    graph.recompile()
    return count


def is_pooling(weight: object) -> bool:
    """Whether the node `weight` has the weights of such a convolution."""
    return isinstance(weight, Node) and str(weight.target).startswith(_NAME)


def _window(node: Node) -> tuple[list[int], list[int], list[int], int] | None:
    """Kernel, stride, padding and channels; None if windows at the edge are smaller or divide by another number."""
    defaults: list[Any] = [None, None, [], [0], False, True, None]
    arguments: list[Any] = [*node.args, *defaults[len(node.args) :]]
    source, kernel, stride, padding, ceil, count_padding, divisor = arguments
    kernel, stride, padding = (_pair(value) for value in (kernel, stride or kernel, padding))
    _, channels, *size = source.meta["val"].shape
    whole = all((extent + 2 * pad - edge) % step == 0 for extent, pad, edge, step in zip(size, padding, kernel, stride, strict=True))
    padded = any(padding) and not count_padding
    return None if padded or divisor is not None or (ceil and not whole) else (kernel, stride, padding, int(channels))


def _pair(value: int | list[int]) -> list[int]:
    numbers = list(value) if isinstance(value, (list, tuple)) else [value]
    return numbers * 2 if len(numbers) == 1 else numbers
