"""Rewrites of a program for what ExecuTorch's lowering to XNNPACK does wrongly (executorch 1.5.1)."""

import math

import torch
from torch import Tensor
from torch.fx import GraphModule

from edgedistill.export.fences import fence_in
from edgedistill.quantize.graph import operators

_ATEN = torch.ops.aten
_IMAGE_RANK = 4
_COMPOSITES = (
    _ATEN.mish.default, _ATEN.mish_.default, _ATEN.softplus.default, _ATEN.celu.default, _ATEN.celu_.default, _ATEN.log_sigmoid.default,
    _ATEN.hardshrink.default, _ATEN.softshrink.default, _ATEN.threshold.default, _ATEN.threshold_.default, _ATEN.selu.default,
    _ATEN.selu_.default, _ATEN.elu.default, _ATEN.elu_.default, _ATEN.rms_norm.default, _ATEN.im2col.default,
)  # fmt: skip


def flatten_softmax(graph: GraphModule) -> int:
    """Compute each softmax over the last of four dimensions on two, in place; returns how many.

    XNNPACK holds what stands near a convolution with the channels last, and its softmax goes over the last dimension in memory: the result
    was that over the channels.
    """
    softmaxes = [
        node
        for node in operators(graph, (_ATEN.softmax.int,))
        if node.meta["val"].ndim == _IMAGE_RANK and node.args[1] in (-1, _IMAGE_RANK - 1)
    ]
    for node in softmaxes:
        node.target = _softmax_of_rows
    return len(softmaxes)


def fence_composites(graph: GraphModule) -> int:
    """Keep what is lowered as several operators apart from what is quantized around them, in place; returns how many.

    XNNPACK's lowering takes one of those operators for quantized if only one of its inputs is: the file fails to load.
    """
    return fence_in(graph, operators(graph, _COMPOSITES))


def write_out_gelu(graph: GraphModule) -> int:
    """Write GELU with tanh as its formula (Hendrycks and Gimpel 2016, arXiv 1606.08415), in place; returns how many.

    XNNPACK's kernel of it is an approximation, off by 3e-4 of the largest output of a small network.
    """
    nodes = [node for node in operators(graph, (_ATEN.gelu.default, _ATEN.gelu_.default)) if node.kwargs.get("approximate") == "tanh"]
    for node in nodes:
        node.target, node.kwargs = _gelu_tanh, {}
    return len(nodes)


def _gelu_tanh(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


def _softmax_of_rows(x: Tensor, dim: int, *options: torch.dtype) -> Tensor:
    return torch.softmax(x.flatten(0, 2), -1, *options).unflatten(0, x.shape[:3])


def quantize_pads(graph: GraphModule) -> int:
    """Quantize what a padding by zeros gives where it reads int8 and floating point follows, in place; returns how many.

    Such a padding is lowered as one of int8 that reads floating point, and the file fails to load. Zeros and the values are on the grid, so
    that quantizing changes none.
    """
    count = 0
    for node in operators(graph, (_ATEN.pad.default, _ATEN.constant_pad_nd.default)):
        source = node.all_input_nodes[0]
        by_zeros = all(not option or option == "constant" for option in node.args[2:])
        if not by_zeros or "dequantize_per_tensor" not in str(source.target):
            continue
        ops = torch.ops.quantized_decomposed
        readers = list(node.users)
        if all(reader.target == ops.quantize_per_tensor.default for reader in readers):
            continue
        with graph.graph.inserting_before(node.next):
            quantized = graph.graph.call_function(ops.quantize_per_tensor.default, (node, *source.args[1:]))
            value = graph.graph.call_function(ops.dequantize_per_tensor.default, (quantized, *source.args[1:]))
        for reader in readers:
            reader.replace_input_with(node, value)
        count += 1
    return count
