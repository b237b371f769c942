"""Equalises the ranges of channels before quantization, without a change of what the float program computes."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node

from edgedistill.quantize.channels import Span, groups_of, spans
from edgedistill.quantize.fold import by_channel
from edgedistill.quantize.graph import replace, tensor_of

_ATEN = torch.ops.aten
_WIDEST = 64.0
"""Factors differ by no more: a channel that is nearly always 0 in the samples may not be so elsewhere."""


def equalize(graph: GraphModule, batches: Iterable[tuple[Tensor, ...]]) -> int:
    """Scale the channels of `graph` (float, see `scheme.exported`) so that those of a tensor use its range alike, in place.

    batches: each holds the inputs of the program in their order. Returns the number of tensors, or sums of tensors, that were scaled.

    A tensor of activations has one scale for all its channels, so that a narrow channel keeps few of the 256 steps. A layer or norm that
    writes channel c multiplies it by k_c, and each layer that reads it divides its weights by k_c: cross-layer equalization (Nagel et al.
    2019, arXiv 1906.04721, section 4.1). With a scale for each output channel of the weights, the writer's weights lose nothing. So k_c
    balances the range a_c of the activation with the largest weight w_c that reads it, k_c = sqrt(w_c / a_c), as SmoothQuant does (Xiao et
    al. 2022, arXiv 2211.10438, equation 4). Where depthwise layers alone read it, weights lose nothing either, and k_c = 1 / a_c.

    The factors are powers of two, so that every value of the float program stays the same to the last bit.
    """
    found = spans(graph)
    ranges = _ranges(graph, {node: axis for span in found for node, axis in span.values.items()}, batches)
    count = 0
    for span in found:
        factors = _factors(graph, span, torch.stack([ranges[node] for node in span.rounded or span.values]).amax(0))
        if (factors != 1).any():
            _scale(graph, span, factors)
            count += 1
    graph.recompile()
    return count


class _Ranges(Interpreter):
    """Notes the largest absolute value of each channel of some nodes."""

    def __init__(self, graph: GraphModule, axes: dict[Node, int]) -> None:
        super().__init__(graph)
        self.axes = axes
        self.found: dict[Node, Tensor] = {}

    def run_node(self, n: Node) -> object:
        value = super().run_node(n)
        if n in self.axes:
            largest = value.abs().movedim(self.axes[n], 0).flatten(1).amax(1)
            self.found[n] = torch.maximum(self.found[n], largest) if n in self.found else largest
        return value


def _ranges(graph: GraphModule, axes: dict[Node, int], batches: Iterable[tuple[Tensor, ...]]) -> dict[Node, Tensor]:
    noting = _Ranges(graph, axes)
    with torch.no_grad():
        for batch in batches:
            noting.run(*batch)
    return noting.found


def _factors(graph: GraphModule, span: Span, ranges: Tensor) -> Tensor:
    """The factor of each channel, float32 [C]; see `equalize`."""
    dense = [largest for reader in span.readers if (largest := _largest_read(graph, reader)) is not None]
    wanted = 1 / ranges if not dense else (torch.stack(dense).amax(0) / ranges).sqrt()
    usable = wanted.isfinite() & (wanted > 0)
    if not usable.any():
        return torch.ones_like(ranges)
    # The widest channel keeps its range.
    wanted = wanted / wanted[ranges.argmax()] if usable[ranges.argmax()] else wanted
    middle = wanted[usable].log2().median()
    exponents = torch.where(usable, wanted.log2(), middle).round()
    limit = torch.tensor(_WIDEST).log2()
    return torch.exp2(exponents.clamp(exponents.min(), exponents.min() + limit))


def _largest_read(graph: GraphModule, reader: Node) -> Tensor | None:
    """For each input channel of a layer the largest weight that reads it; None for a depthwise layer, whose channels have own scales."""
    weight, groups = tensor_of(graph, reader.args[1]), groups_of(reader)
    if groups > 1 and weight.shape[1] == 1:
        return None
    return weight.abs().reshape(groups, len(weight) // groups, weight.shape[1], -1).amax((1, 3)).flatten()


def _scale(graph: GraphModule, span: Span, factors: Tensor) -> None:
    for writer in span.writers:
        # A batch norm has no values before its statistics that would change.
        positions = {_ATEN.layer_norm.default: (2, 3)}.get(writer.target, (1, 2))  # type: ignore[call-overload]
        for position in positions:
            node = writer.args[position] if len(writer.args) > position else None
            if isinstance(node, Node):
                value = tensor_of(graph, node)
                replace(graph, node, value * by_channel(factors, value))
    for reader in span.readers:
        weight, groups = tensor_of(graph, reader.args[1]), groups_of(reader)
        inverse = (1 / factors).reshape(groups, 1, weight.shape[1], *[1] * (weight.ndim - 2))
        parts = weight.reshape(groups, len(weight) // groups, *weight.shape[1:])
        replace(graph, reader.args[1], (parts * inverse).reshape(weight.shape))
