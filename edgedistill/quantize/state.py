"""The quantized state: int8 weights, scales, zero points and int32 biases of a trained student, and its hash."""

import copy
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.fx import GraphModule, Node

from edgedistill.quantize.fold import fold_batchnorm
from edgedistill.quantize.graph import WEIGHTED, operators, outputs_of, replace, tensor_of
from edgedistill.quantize.moves import keep_steps
from edgedistill.quantize.pooling import is_pooling
from edgedistill.quantize.temperature import divide_output
from edgedistill.quantize.ties import break_ties, separate_means
from edgedistill.signature import Signature


@dataclass(frozen=True)
class Trained:
    """Trained weight and bias of a layer, including batch norm and temperature, before they were put on their grids."""

    weight: torch.Tensor
    bias: torch.Tensor | None


@dataclass(frozen=True)
class QuantizedState:
    """One quantized program in the two forms that converters need.

    converted: int8 weights are folded constants. Its inputs and outputs are those of the float module.
    unfolded:  the same program with float weights on the int8 grid, followed by quantize and dequantize, for LiteRT.
    output_scale: the LSB of each quantized output, in its own units, by name; the one that an output had where its last layer was left in
    floating point (`mixed`).
    sha256: hash over every weight, scale, zero point and bias, in execution order.
    temperature: the divisor of the output; 1 if it could not be folded into the last layer.
    trained: the quantized layers, except average pooling, by the names of their nodes in both forms.
    """

    converted: GraphModule
    unfolded: GraphModule
    output_scale: dict[str, float]
    sha256: str
    temperature: float
    trained: dict[str, Trained]


def convert(
    prepared: GraphModule, signature: Signature, temperature: float = 1.0, *, fit: Callable[[GraphModule], object] | None = None
) -> QuantizedState:
    """Freeze a graph that was trained (`qat.QATModule` in evaluation mode) or calibrated (`static.calibrate`); `graph` is not changed.

    temperature: the output of the state is that of the graph divided by it, if it can be folded into the last layer; see `temperature`.
    fit: changes weights and biases of the converted program, which still has them in floating point, in place; see `reconstruct`.
    """
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e

    graph = copy.deepcopy(prepared)
    fold_batchnorm(graph)
    unfolded = convert_pt2e(graph, fold_quantize=False)
    folded = temperature if divide_output(unfolded, temperature) else 1.0
    break_ties(unfolded)
    separate_means(unfolded)
    keep_steps(unfolded)
    trained = _trained(unfolded)
    if fit is not None:
        fit(unfolded)
    return settle(unfolded, signature, folded, trained)


def settle(unfolded: GraphModule, signature: Signature, temperature: float, trained: dict[str, Trained]) -> QuantizedState:
    """The state of a converted program with float weights. Puts weights and biases on their grids, in place."""
    round_weights(unfolded)
    # Before folding the weights, so that biases are rounded once for both forms.
    round_biases(unfolded)
    names = (spec.name for spec in signature.outputs)
    scales = {
        name: float(_qparams(unfolded, node)[0]) for name, node in zip(names, outputs_of(unfolded), strict=True) if _dequantizes(node)
    }
    return state_of(unfolded, scales, temperature, trained)


def state_of(unfolded: GraphModule, output_scale: dict[str, float], temperature: float, trained: dict[str, Trained]) -> QuantizedState:
    """The state of a program whose weights and biases are on their grids; see `QuantizedState`."""
    from torchao.quantization.pt2e.constant_fold import constant_fold
    from torchao.quantization.pt2e.quantize_pt2e import _quant_node_constraint

    # Folding is the last pass of convert_pt2e. Running it on a copy avoids a second conversion.
    converted = copy.deepcopy(unfolded)
    constant_fold(converted, _quant_node_constraint)
    return QuantizedState(converted, unfolded, output_scale, digest(state_tensors(converted)), temperature, trained)


def _trained(unfolded: GraphModule) -> dict[str, Trained]:
    layers = {}
    for node in operators(unfolded, WEIGHTED):
        weight = node.args[1].args[0].args[0] if _is_quantized(node) else None  # type: ignore[union-attr]
        if weight is not None and not is_pooling(weight):
            bias = node.args[2] if len(node.args) > 2 else None
            layers[node.name] = Trained(tensor_of(unfolded, weight), tensor_of(unfolded, bias) if isinstance(bias, Node) else None)
    return layers


def _dequantize() -> tuple[tuple[object, ...], tuple[object, ...]]:
    ops = torch.ops.quantized_decomposed
    return (ops.dequantize_per_tensor.default, ops.dequantize_per_tensor.tensor), (ops.dequantize_per_channel.default,)


def _qparams(graph: GraphModule, node: object) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale and zero point of a dequantize node. Raises an error if the operator is not quantized."""
    per_tensor, per_channel = _dequantize()
    if not isinstance(node, Node) or node.target not in per_tensor + per_channel:
        raise ValueError(f"expected a dequantize before a quantized operator, found {node}")
    return tensor_of(graph, node.args[1]), tensor_of(graph, node.args[2])


def _dequantizes(node: Node) -> bool:
    """Whether `node` dequantizes integers with a single scale."""
    return node.target in _dequantize()[0]


def _is_quantized(node: Node) -> bool:
    per_tensor, per_channel = _dequantize()
    both = per_tensor + per_channel
    return all(isinstance(a, Node) and a.target in both for a in node.args[:2])


def round_weights(graph: GraphModule) -> int:
    """Put each float weight on its int8 grid, in place; returns the number of weights.

    LiteRT's converter quantizes the float weights itself, with another division by the scale: a weight in the middle between two steps
    could become a different integer.
    """
    ops = torch.ops.quantized_decomposed
    nodes = operators(graph, (ops.quantize_per_channel.default,))
    for node in nodes:
        scale, zero_point = (tensor_of(graph, argument) for argument in node.args[1:3])
        steps = ops.quantize_per_channel(tensor_of(graph, node.args[0]), scale, zero_point, *node.args[3:])
        replace(graph, node.args[0], ops.dequantize_per_channel(steps, scale, zero_point, *node.args[3:]))
    return len(nodes)


def round_biases(graph: GraphModule) -> int:
    """Round each bias to int32 at scale s_input * s_weight, in place; returns how many were rounded.

    Integer kernels store the bias like this (Jacob et al. 2018, arXiv 1712.05877, section 2.4). Without
    rounding, the simulation in floating point and the runtimes would compute two different models.
    """
    count = 0
    for node in operators(graph, WEIGHTED):
        if len(node.args) < 3 or not isinstance(node.args[2], Node) or not _is_quantized(node):
            continue
        bias = tensor_of(graph, node.args[2])
        scale = _bias_scale(graph, node, len(bias))
        rounded = torch.round(bias.double() / scale).clamp(-(2**31) + 1, 2**31 - 1) * scale
        replace(graph, node.args[2], rounded.float())
        count += 1
    return count


def _bias_scale(graph: GraphModule, node: Node, channels: int) -> torch.Tensor:
    """Of each of `channels`; the groups of a transposed convolution share the scales of its weights."""
    input_scale, _ = _qparams(graph, node.args[0])
    weight_scale, _ = _qparams(graph, node.args[1])
    # The runtimes multiply the two scales in float32.
    scale = (input_scale.float() * weight_scale.float()).double()
    return scale.repeat(channels // len(scale)) if scale.ndim else scale


def state_tensors(converted: GraphModule) -> dict[str, torch.Tensor]:
    """All tensors that define the quantized program, by operator in execution order.

    For operator i: `i.input_scale`, `i.input_zero_point`, `i.weight` (int8), `i.weight_scale`, `i.bias` (int32), or where it computes in
    floating point `i.weight` and `i.bias` (float32); for the output, unless it is not quantized: `output.scale`, `output.zero_point`,
    and of several outputs `output0.scale` and so on; all pairs of activations: `activations` [n, 2] float64.
    """
    tensors: dict[str, torch.Tensor] = {}
    for index, node in enumerate(operators(converted, WEIGHTED)):
        weight, has_bias = node.args[1], len(node.args) > 2 and isinstance(node.args[2], Node)
        if not _is_quantized(node):
            constants = {"weight": weight, **({"bias": node.args[2]} if has_bias else {})}
            # A product of two activations has no constants.
            tensors |= {f"{index}.{k}": tensor_of(converted, v) for k, v in constants.items() if isinstance(v, Node) and v.op == "get_attr"}
            continue
        tensors[f"{index}.input_scale"], tensors[f"{index}.input_zero_point"] = _qparams(converted, node.args[0])
        tensors[f"{index}.weight"] = tensor_of(converted, weight.args[0])  # type: ignore[union-attr]
        tensors[f"{index}.weight_scale"] = _qparams(converted, weight)[0]
        if has_bias:
            bias = tensor_of(converted, node.args[2])
            scaled = bias.double() / _bias_scale(converted, node, len(bias))
            tensors[f"{index}.bias"] = scaled.round().to(torch.int32)
    per_tensor, _ = _dequantize()
    outputs = outputs_of(converted)
    for position, output in enumerate(outputs):
        if _dequantizes(output):
            name = "output" if len(outputs) == 1 else f"output{position}"
            tensors[f"{name}.scale"], tensors[f"{name}.zero_point"] = _qparams(converted, output)
    pairs = [[float(value) for value in _qparams(converted, node)] for node in operators(converted, per_tensor)]
    tensors["activations"] = torch.tensor(pairs, dtype=torch.float64)
    return tensors


def digest(tensors: dict[str, torch.Tensor]) -> str:
    """SHA-256 over names, types, shapes and values of `state_tensors`."""
    sha256 = hashlib.sha256()
    for name, tensor in tensors.items():
        sha256.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        sha256.update(tensor.contiguous().numpy().tobytes())
    return sha256.hexdigest()
