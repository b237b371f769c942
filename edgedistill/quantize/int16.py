"""Quantizes activations to 16 bits and weights to 8 bits, for a student that loses too much accuracy in int8."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from edgedistill.quantize.fold import fold_float, fold_layernorm
from edgedistill.quantize.graph import PASSING, operators
from edgedistill.quantize.relu6 import hide_relu6, show_relu6
from edgedistill.quantize.state import QuantizedState, settle
from edgedistill.signature import Signature

LARGEST = 32767
_ATEN = torch.ops.aten
_RECTIFIERS = (_ATEN.relu.default, _ATEN.relu_.default)
_BOUNDS = (_ATEN.hardtanh.default, _ATEN.hardtanh_.default)
# The quantizer's own smallest scale, 2^-12, is eight steps of an activation with the maximum 1.
_MIN_SCALE = 2.0**-30


def quantize(graph: GraphModule, signature: Signature, samples: Iterable[tuple[Tensor, ...]]) -> QuantizedState:
    """The state of the float program `graph`, which is changed, with ranges of activations from `samples`.

    samples: each holds the inputs of `signature` in their order, of batch 1.

    Symmetric int16 by tensor, scale = max |x| / 32767 and zero point 0, so that kernels need no correction; symmetric int8 weights
    by output channel; biases at s_input * s_weight. LiteRT's scheme: https://ai.google.dev/edge/litert/models/quantization_spec.
    """
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    shown = list(samples)
    fold_float(graph)
    fold_layernorm(graph)
    pad_with_zeros(graph)
    # The quantizer needs the shape of every node.
    graph = torch.export.export(graph, shown[0]).module()
    hidden = hide_relu6(graph)
    prepared = prepare_pt2e(graph, _quantizer())
    show_relu6(prepared, hidden)
    with torch.no_grad():
        for sample in shown:
            prepared(*sample)
    return settle(convert_pt2e(prepared, fold_quantize=False), signature, 1.0, {})


def _quantizer() -> Any:
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import XNNPACKQuantizer, get_symmetric_quantization_config
    from torchao.quantization.pt2e import MinMaxObserver, PerChannelMinMaxObserver
    from torchao.quantization.pt2e.quantizer import QuantizationSpec

    activation = QuantizationSpec(
        dtype=torch.int16, quant_min=-LARGEST, quant_max=LARGEST, qscheme=torch.per_tensor_symmetric,
        observer_or_fake_quant_ctr=MinMaxObserver.with_args(eps=_MIN_SCALE),
    )  # fmt: skip
    int8 = get_symmetric_quantization_config(is_per_channel=True)
    weight = replace(int8.weight, observer_or_fake_quant_ctr=PerChannelMinMaxObserver.with_args(eps=_MIN_SCALE))
    config = replace(int8, input_activation=activation, output_activation=activation, weight=weight)
    return XNNPACKQuantizer().set_global(config)


def pad_with_zeros(graph: GraphModule) -> int:
    """Replace the padding of each maximum over non-negative values by explicit zeros before it, in place; returns how many.

    A maximum ignores its padding. For that LiteRT's converter pads with the lowest number, by an operator that int16 lacks.
    """
    count = 0
    for node in operators(graph, (_ATEN.max_pool2d.default,)):
        arguments: list[Any] = list(node.args) + [[], [0, 0]][len(node.args) - 2 :]
        source, kernel, stride, padding, *rest = arguments
        if not any(padding) or not _never_negative(source):
            continue
        high, wide = padding * 2 if len(padding) == 1 else padding
        with graph.graph.inserting_before(node):
            padded = graph.graph.call_function(_ATEN.constant_pad_nd.default, (source, [wide, wide, high, high], 0.0))
        node.args = (padded, kernel, stride, [0, 0], *rest)
        count += 1
    graph.recompile()
    return count


def _never_negative(node: Node) -> bool:
    while node.target in PASSING:
        node = node.all_input_nodes[0]
    return node.target in _RECTIFIERS or (node.target in _BOUNDS and bool(node.args[1:2] == (0,)))
