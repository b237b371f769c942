"""Puts a move of values behind a layer of a program, so that a quantized layer stays one."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from edgedistill.quantize.graph import ACTIVATIONS


def move_behind(graph: GraphModule, layer: Node, move: Callable[..., Tensor], *arguments: Any) -> None:
    """Let what reads `layer` read `move(layer, *arguments)`, in place.

    Where the result of the layer is quantized, the move stands behind that, and its own result is quantized by the same scale: converters
    fuse a layer with its activation and its quantization only if they follow each other.
    """
    last = _quantized_behind(layer) or layer
    readers = list(last.users)
    call = graph.graph.call_function
    with graph.graph.inserting_before(last.next):
        if last is layer:
            value = call(move, (layer, *arguments))
        else:
            ops = torch.ops.quantized_decomposed
            value = call(move, (call(ops.dequantize_per_tensor.default, (last, *last.args[1:])), *arguments))
            value = call(ops.quantize_per_tensor.default, (value, *last.args[1:]))
    for reader in readers:
        reader.replace_input_with(last, value)


def _quantized_behind(node: Node) -> Node | None:
    """What quantizes the result of a layer, which may pass an activation first; None where it stays in floating point."""
    (user,) = node.users if len(node.users) == 1 else (None,)
    if user is None or str(user.target) == "quantized_decomposed.quantize_per_tensor.default":
        return user
    return _quantized_behind(user) if user.target in ACTIVATIONS else None
