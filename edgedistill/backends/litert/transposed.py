"""Transposed convolutions that LiteRT's converter does not take (litert_torch 0.10)."""

from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule

from edgedistill.errors import UserError
from edgedistill.export.behind import move_behind
from edgedistill.quantize.graph import layer_of, operators

_ATEN = torch.ops.aten
_AXES = {_ATEN.conv_transpose1d.default: 1, _ATEN.conv_transpose2d.input: 2}


def crop_outputs(graph: GraphModule) -> int:
    """Write each transposed convolution with `output_padding` as one without any padding and a slice, in place; returns how many.

    A padding p cuts p values off at both ends of the whole result, and an output padding gives some of those at the end back. The converter
    fails at the latter. Raises UserError where more would be given back than was cut off.
    """
    count = 0
    for node in operators(graph, tuple(_AXES)):
        axes = _AXES[node.target]  # type: ignore[index]
        given: list[Any] = [*node.args, *[None, 1, 0, 0, 1, 1][len(node.args) - 2 :]]
        padding, extra = (_each(value, axes) for value in given[4:6])
        if not any(extra):
            continue
        if any(more > cut for more, cut in zip(extra, padding, strict=True)):
            found = f"the layer {layer_of(node)} is a transposed convolution with output_padding {extra} above its padding {padding}"
            raise UserError(f"{found}, which LiteRT's converter fails at; take an output_padding up to the padding, or onnx or coreml")
        sizes = node.meta["val"].shape[2:]
        node.args = (*given[:4], [0] * axes, [0] * axes, given[6], _each(given[7], axes))
        move_behind(graph, node, _cropped, [(cut, cut + int(size)) for cut, size in zip(padding, sizes, strict=True)])
        count += 1
    return count


def _cropped(x: Tensor, bounds: list[tuple[int, int]]) -> Tensor:
    for axis, (start, stop) in enumerate(bounds, 2):
        x = x.narrow(axis, start, stop - start)
    return x


def _each(value: Any, axes: int) -> list[int]:
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    return values * axes if len(values) == 1 else values
