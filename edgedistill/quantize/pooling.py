"""Replaces average pooling by convolutions, which all runtimes compute alike."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.fx import GraphModule, Node

from edgedistill.quantize.build import call, constant
from edgedistill.quantize.graph import operators

_ATEN = torch.ops.aten
_NAME = "pooling_"
_CONVOLUTIONS: dict[Any, Any] = {
    _ATEN.avg_pool1d.default: _ATEN.conv1d.default,
    _ATEN.avg_pool2d.default: _ATEN.conv2d.default,
    _ATEN.avg_pool3d.default: _ATEN.conv3d.default,
}
"""The convolution for each average pooling."""


def pool_by_convolution(graph: GraphModule) -> int:
    """Replace each average pooling by depthwise convolutions; returns how many were replaced.

    An integer average pooling has the same scale for its input and output, so that with 2x2 windows every fourth result lies exactly
    between two steps. LiteRT rounds it away from zero, the other runtimes to even, and the results differ by half an LSB on average. A
    convolution with weights 1/(number of values), which int8 stores exactly, has its own scale.

    Windows that hang over the edge hold fewer values, and runtimes divide them by different numbers. So each kind of window becomes a
    convolution of its own.
    """
    return _replace(graph, lambda pool: pool.whole or pool.static)


def pool_for_core_ml(graph: GraphModule) -> int:
    """Replace only the average poolings that Core ML computes differently, or coremltools refuses; returns how many were replaced.

    With `ceil_mode` Core ML divides a window that hangs over the edge by the whole kernel, and not by the number of values in it
    (coremltools, issue 2772 and pull request 2844). coremltools refuses a divisor of the user's (issue 2745).
    """
    return _replace(graph, lambda pool: pool.static and ((pool.ceil and not pool.whole) or pool.divisor is not None))


def pool_for_onnx(graph: GraphModule) -> int:
    """Replace only the average poolings with a divisor of the user's, which ONNX has not; returns how many were replaced.

    torch.onnx.export leaves the divisor out, and says nothing.
    """
    return _replace(graph, lambda pool: pool.static and pool.divisor is not None)


def pool_for_core_ai(graph: GraphModule) -> int:
    """Replace only the average poolings that Core AI's converter cannot hold, or computes differently; returns how many were replaced.

    coreai-torch 0.4.3 counts zeros of a padding in every case, and fails at `ceil_mode`.
    """
    return _replace(graph, lambda pool: pool.static and (pool.ceil or not pool.whole))


def is_pooling(weight: object) -> bool:
    """Whether the node `weight` has the weights of such a convolution."""
    return isinstance(weight, Node) and str(weight.target).startswith(_NAME)


@dataclass(frozen=True)
class Segment:
    """Consecutive windows along one axis that hold as many values, `size`, and divide by the same number.

    start, stop: the values of the axis that they hold together.
    """

    start: int
    stop: int
    size: int
    divisor: int


@dataclass(frozen=True)
class _Pool:
    """The arguments of an average pooling, by axis."""

    kernel: list[int]
    stride: list[int]
    padding: list[int]
    ceil: bool
    count_padding: bool
    divisor: int | None
    extent: list[int]
    channels: int

    @property
    def static(self) -> bool:
        """Whether the sizes of the input are known."""
        return all(isinstance(extent, int) for extent in self.extent)

    @property
    def whole(self) -> bool:
        """Whether all windows lie within the input and its padding, and divide by the same number."""
        axes = zip(self.extent, self.padding, self.kernel, self.stride, strict=True)
        fits = not self.ceil or (self.static and all((extent + 2 * pad - edge) % step == 0 for extent, pad, edge, step in axes))
        return fits and (not any(self.padding) or self.count_padding or self.divisor is not None)

    def segments(self, axis: int) -> list[Segment]:
        """The windows along an axis."""
        extent, kernel, stride, padding = self.extent[axis], self.kernel[axis], self.stride[axis], self.padding[axis]
        return segments(extent, kernel, stride, padding, ceil=self.ceil, count_padding=self.count_padding)


def segments(extent: int, kernel: int, stride: int, padding: int, *, ceil: bool, count_padding: bool) -> list[Segment]:
    """The windows of a pooling along an axis of `extent` values, those that are alike together.

    With `ceil` a last window may hang over the edge, but none begins behind the values and the padding in front.
    """
    count = (extent + 2 * padding - kernel + (stride - 1 if ceil else 0)) // stride + 1
    if ceil and (count - 1) * stride >= extent + padding:
        count -= 1
    found: list[Segment] = []
    last = -1
    for window in range(count):
        begin = window * stride - padding
        start, stop = max(begin, 0), min(begin + kernel, extent)
        divisor = min(begin + kernel, extent + padding) - begin if count_padding else stop - start
        if found and (found[-1].size, found[-1].divisor) == (stop - start, divisor) and start == last + stride:
            found[-1] = Segment(found[-1].start, stop, stop - start, divisor)
        else:
            found.append(Segment(start, stop, stop - start, divisor))
        last = start
    return found


def _replace(graph: GraphModule, chosen: Callable[[_Pool], bool]) -> int:
    count = 0
    # All are read before one is replaced: the sizes of what stands in its place may not be numbers.
    pools = [(node, _pool(node)) for node in operators(graph, tuple(_CONVOLUTIONS))]
    for node, pool in pools:
        if not chosen(pool):
            continue
        with graph.graph.inserting_before(node):
            builder = _Builder(graph, node, pool, f"{_NAME}{count}")
            result = builder.convolution(node.args[0], pool.kernel, pool.padding, pool.divisor) if pool.whole else builder.pieces([])
        node.replace_all_uses_with(result)
        graph.graph.erase_node(node)
        count += 1
    graph.recompile()
    return count


class _Builder:
    """Writes what stands for the average pooling `node` into its graph."""

    def __init__(self, graph: GraphModule, node: Node, pool: _Pool, name: str) -> None:
        self.graph, self.node, self.pool, self.name, self.count = graph, node, pool, name, 0

    def convolution(self, source: Any, kernel: list[int], padding: list[int], divisor: int | None) -> Node:
        """The sum of each window of `source` over `divisor`, by default the number of its values."""
        pool, name = self.pool, f"{self.name}_{self.count}_weight"
        self.count += 1
        weight = constant(self.graph, self.node, name, torch.full((pool.channels, 1, *kernel), 1 / (divisor or math.prod(kernel))))
        ones = [1] * len(kernel)
        return self._call(_CONVOLUTIONS[self.node.target], source, weight, None, pool.stride, padding, ones, pool.channels)

    def pieces(self, before: list[Segment]) -> Node:
        """A convolution for each part of the result whose windows are alike, and their concatenation, axis by axis.

        before: the parts that were chosen of the first axes.
        """
        axis = len(before)
        if axis == len(self.pool.extent):
            return self._piece(before)
        parts = [self.pieces([*before, segment]) for segment in self.pool.segments(axis)]
        return parts[0] if len(parts) == 1 else self._call(_ATEN.cat.default, parts, 2 + axis)

    def _piece(self, chosen: list[Segment]) -> Node:
        source: Any = self.node.args[0]
        for axis, segment in enumerate(chosen):
            if (segment.start, segment.stop) != (0, self.pool.extent[axis]):
                source = self._call(_ATEN.slice.Tensor, source, 2 + axis, segment.start, segment.stop)
        divisor = self.pool.divisor or math.prod(segment.divisor for segment in chosen)
        return self.convolution(source, [segment.size for segment in chosen], [0] * len(chosen), divisor)

    def _call(self, target: Any, *arguments: Any) -> Node:
        return call(self.graph, self.node, target, *arguments)


def _pool(node: Node) -> _Pool:
    defaults: list[Any] = [None, None, [], [0], False, True, None]
    arguments: list[Any] = [*node.args, *defaults[len(node.args) :]]
    source, kernel, stride, padding, ceil, count_padding, divisor = arguments
    _, channels, *extent = source.meta["val"].shape
    kernel, stride, padding = (_by_axis(value, len(extent)) for value in (kernel, stride or kernel, padding))
    return _Pool(kernel, stride, padding, ceil, count_padding, divisor, extent, int(channels))


def _by_axis(value: int | list[int], axes: int) -> list[int]:
    numbers = list(value) if isinstance(value, (list, tuple)) else [value]
    return numbers * axes if len(numbers) == 1 else numbers
