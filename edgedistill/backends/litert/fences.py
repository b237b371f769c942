"""Keeps floating-point operators of an int8 program out of LiteRT's quantization (litert_torch 0.10)."""

import operator

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from edgedistill.quantize.graph import PASSING, operators

_ATEN = torch.ops.aten
_FENCED = (
    _ATEN.gru.input, _ATEN.lstm.input, _ATEN.rnn_tanh.input, _ATEN.rnn_relu.input, _ATEN.softmax.int, _ATEN.log_softmax.int,
)  # fmt: skip
_MOVES = (
    *PASSING, _ATEN.cat.default, _ATEN.stack.default, _ATEN.slice.Tensor, _ATEN.select.int, _ATEN.permute.default, _ATEN.transpose.int,
    _ATEN.unsqueeze.default, operator.getitem,
)  # fmt: skip


def fence(graph: GraphModule) -> int:
    """Negate twice what is quantized behind a recurrent layer or a softmax, in place; returns how often.

    The converter moves a quantization from behind a layer to its inside: the steps of a recurrent layer would read rounded states, and a
    softmax becomes one of int8, which the runtime refuses unless its scale is 1 / 256. A negation is not quantized, and two change nothing.
    """
    quantizations = [node for node in operators(graph, (torch.ops.quantized_decomposed.quantize_per_tensor.default,)) if _is_behind(node)]
    for node in quantizations:
        with graph.graph.inserting_before(node):
            node.replace_input_with(node.all_input_nodes[0], graph.graph.call_function(_twice_negated, (node.all_input_nodes[0],)))
    return len(quantizations)


def _twice_negated(x: Tensor) -> Tensor:
    return x.neg().neg()


def _is_behind(node: Node) -> bool:
    """Whether a value is that of a fenced operator, which was moved at most."""
    return any(source.target in _FENCED or (source.target in _MOVES and _is_behind(source)) for source in node.all_input_nodes)
