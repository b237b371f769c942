"""Keeps floating-point operators of an int8 program out of LiteRT's quantization (litert_torch 0.10)."""

import operator

import torch
from torch.fx import GraphModule, Node

from edgedistill.export.fences import fence_in, fence_input
from edgedistill.quantize.graph import PASSING, operators

_ATEN = torch.ops.aten
_OPS = torch.ops.quantized_decomposed
_ARITHMETIC = (_ATEN.add.Tensor, _ATEN.sub.Tensor, _ATEN.mul.Tensor)
_FENCED = (
    _ATEN.gru.input, _ATEN.lstm.input, _ATEN.rnn_tanh.input, _ATEN.rnn_relu.input, _ATEN.softmax.int, _ATEN.log_softmax.int,
)  # fmt: skip
_COMPUTED = (
    _ATEN.elu.default, _ATEN.elu_.default, _ATEN.celu.default, _ATEN.mish.default, _ATEN.hardswish.default, _ATEN.hardswish_.default,
    _ATEN.log_sigmoid.default, _ATEN.hardshrink.default, _ATEN.threshold.default, _ATEN.threshold_.default, _ATEN.mish_.default,
    _ATEN.sqrt.default, _ATEN.rsqrt.default, _ATEN.sum.dim_IntList, _ATEN.sum.default, _ATEN.stack.default,
    _ATEN.linalg_vector_norm.default, _ATEN.amax.default, _ATEN.amin.default, _ATEN.pow.Tensor_Scalar, _ATEN.upsample_bilinear2d.vec,
    _ATEN.masked_fill.Scalar, _ATEN.maximum.default, _ATEN.minimum.default, _ATEN.div.Tensor,
    _ATEN.reciprocal.default, _ATEN.gather.default, _ATEN.argmax.default, _ATEN.argmin.default, _ATEN.where.self, _ATEN.matmul.default,
    _ATEN.bmm.default, _ATEN.baddbmm.default, _ATEN.einsum.default, _ATEN.scaled_dot_product_attention.default,
)  # fmt: skip
_MOVES = (
    *PASSING, _ATEN.cat.default, _ATEN.stack.default, _ATEN.slice.Tensor, _ATEN.select.int, _ATEN.permute.default, _ATEN.transpose.int,
    _ATEN.unsqueeze.default, operator.getitem,
)  # fmt: skip

_LARGEST = 3.0e38
"""Nearly the largest float32: no value is above it."""


def fence(graph: GraphModule) -> int:
    """Keep in floating point what LiteRT would compute otherwise in int8, by two negations in place; returns how often.

    The converter moves a quantization from behind a layer to its inside: the steps of a recurrent layer would read rounded states, and a
    softmax becomes one of int8, which the runtime refuses unless its scale is 1 / 256. Its own int8 kernels of some operators are up to an
    LSB off in the mean, and XNNPACK takes those operators in floating point only. A product of two activations in int8 is slower as well:
    a levit_128s took 3.7 ms with them, and takes 1.5 ms.
    """
    quantizations = [node for node in operators(graph, (_OPS.quantize_per_tensor.default,)) if _is_behind(node)]
    for node in quantizations:
        fence_input(graph, node, node.all_input_nodes[0])
    return len(quantizations) + fence_in(graph, [*operators(graph, _COMPUTED), *_reflections(graph), *_summed_parts(graph)])


def fence_weights(graph: GraphModule) -> int:
    """Keep constants out of the weights of linear layers, which lie on a grid, by a minimum in place; returns how often.

    The converter multiplies the weights by a constant that their input was multiplied by, as the scale of a layer norm is, and adds one
    that was added to the bias: the weights leave their grid, and what is rounded at run time is another tensor. Of two negations in
    floating point it makes none.
    """
    sources = {node.all_input_nodes[0]: None for node in operators(graph, (_ATEN.linear.default,))}
    folded = (*_ARITHMETIC, _ATEN.layer_norm.default, _ATEN.native_layer_norm.default)
    fenced = [source for source in sources if _before_moves(source).target in folded]
    for source in fenced:
        readers = [user for user in source.users if user.target == _ATEN.linear.default and user.args[0] is source]
        with graph.graph.inserting_before(readers[0]):
            kept = graph.graph.call_function(_ATEN.clamp.default, (source, None, _LARGEST))
        for reader in readers:
            reader.replace_input_with(source, kept)
    return len(fenced)


def _before_moves(node: Node) -> Node:
    """What a dropout, which does nothing here, or a reshape was given."""
    while node.target in PASSING:
        node = node.all_input_nodes[0]
    return node


def _summed_parts(graph: GraphModule) -> list[Node]:
    """Selections that are added or multiplied with each other: the converter drops their axis behind the sum, and mixes up the scales."""
    found: list[Node] = []
    for node in operators(graph, _ARITHMETIC):
        sources = [_before_quantization(source) for source in node.all_input_nodes]
        if all(source.target == _ATEN.select.int for source in sources):
            found += sources
    return list(dict.fromkeys(found))


def _before_quantization(node: Node) -> Node:
    while node.target in (_OPS.dequantize_per_tensor.default, _OPS.quantize_per_tensor.default):
        node = node.all_input_nodes[0]
    return node


def _reflections(graph: GraphModule) -> list[Node]:
    return [node for node in operators(graph, (_ATEN.pad.default,)) if "reflect" in node.args]


def _is_behind(node: Node) -> bool:
    """Whether a value is that of a fenced operator, which was moved at most."""
    return any(source.target in _FENCED or (source.target in _MOVES and _is_behind(source)) for source in node.all_input_nodes)
