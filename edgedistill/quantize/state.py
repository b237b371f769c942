"""The quantized state: int8 weights, scales, zero points and int32 biases of a trained student, and its hash."""

import copy
import hashlib
from dataclasses import dataclass

import torch
from torch import nn
from torch.fx import GraphModule, Node

from edgedistill.quantize.fold import fold_batchnorm
from edgedistill.quantize.graph import operators, tensor_of
from edgedistill.quantize.temperature import divide_logits
from edgedistill.quantize.ties import break_ties, separate_means


@dataclass(frozen=True)
class QuantizedState:
    """One quantized program in the two forms that converters take.

    converted: int8 weights are folded constants. Input float32 [N, 3, H, W], output float32 logits.
    unfolded:  the same program with float weights on the int8 grid behind quantize and dequantize, which LiteRT needs.
    output_scale: the LSB of the logits, in logits.
    sha256: hash over every weight, scale, zero point and bias, in execution order.
    temperature: what the logits were divided by; 1 where it could not be folded into the last layer.
    """

    converted: GraphModule
    unfolded: GraphModule
    output_scale: float
    sha256: str
    temperature: float


def convert(prepared: GraphModule, temperature: float = 1.0) -> QuantizedState:
    """Freeze a graph that was trained (`qat.QATModule` in evaluation mode) or calibrated (`static.calibrate`); it is left as it was.

    temperature: the state's logits are those of the graph divided by it, where its last layer can take it in; see `temperature`.
    """
    from torchao.quantization.pt2e.constant_fold import constant_fold
    from torchao.quantization.pt2e.quantize_pt2e import _quant_node_constraint, convert_pt2e

    graph = copy.deepcopy(prepared)
    fold_batchnorm(graph)
    unfolded = convert_pt2e(graph, fold_quantize=False)
    folded = temperature if divide_logits(unfolded, temperature) else 1.0
    break_ties(unfolded)
    separate_means(unfolded)
    round_weights(unfolded)
    # Folding is the last pass of convert_pt2e: running it on a copy spares a second conversion, and biases are rounded once.
    round_biases(unfolded)
    converted = copy.deepcopy(unfolded)
    constant_fold(converted, _quant_node_constraint)
    tensors = state_tensors(converted)
    return QuantizedState(converted, unfolded, float(tensors["output.scale"]), digest(tensors), folded)


def _weighted() -> tuple[object, ...]:
    aten = torch.ops.aten
    return (aten.conv2d.default, aten.conv2d.padding, aten.linear.default)


def _dequantize() -> tuple[tuple[object, ...], tuple[object, ...]]:
    ops = torch.ops.quantized_decomposed
    return (ops.dequantize_per_tensor.default, ops.dequantize_per_tensor.tensor), (ops.dequantize_per_channel.default,)


def _qparams(graph: GraphModule, node: object) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale and zero point of a dequantize node; a clear error where the operator is not quantized."""
    per_tensor, per_channel = _dequantize()
    if not isinstance(node, Node) or node.target not in per_tensor + per_channel:
        raise ValueError(f"expected a dequantize before a quantized operator, found {node}")
    return tensor_of(graph, node.args[1]), tensor_of(graph, node.args[2])


def _is_quantized(node: Node) -> bool:
    per_tensor, per_channel = _dequantize()
    both = per_tensor + per_channel
    return all(isinstance(a, Node) and a.target in both for a in node.args[:2])


def round_weights(graph: GraphModule) -> int:
    """Put each float weight on its int8 grid, in place; returns how many weights there are.

    LiteRT's converter quantizes the float weights itself, and divides by the scale another way: a weight that lies in the
    middle between two steps would become another integer there.
    """
    ops = torch.ops.quantized_decomposed
    nodes = operators(graph, (ops.quantize_per_channel.default,))
    for node in nodes:
        scale, zero_point = (tensor_of(graph, argument) for argument in node.args[1:3])
        steps = ops.quantize_per_channel(tensor_of(graph, node.args[0]), scale, zero_point, *node.args[3:])
        _replace(graph, node.args[0], ops.dequantize_per_channel(steps, scale, zero_point, *node.args[3:]))
    return len(nodes)


def _replace(graph: GraphModule, node: object, value: torch.Tensor) -> None:
    owner, _, name = str(node.target).rpartition(".")  # type: ignore[attr-defined]
    setattr(graph.get_submodule(owner), name, nn.Parameter(value, requires_grad=False))


def round_biases(graph: GraphModule) -> int:
    """Round each bias to int32 at scale s_input * s_weight, in place; returns how many were rounded.

    Integer kernels hold the bias so (Jacob et al. 2018, arXiv 1712.05877, section 2.4). The simulation in floating
    point would keep it unrounded, and PyTorch and the runtimes would compute two different models.
    """
    count = 0
    for node in operators(graph, _weighted()):
        if len(node.args) < 3 or not isinstance(node.args[2], Node) or not _is_quantized(node):
            continue
        bias = tensor_of(graph, node.args[2])
        scale = _bias_scale(graph, node)
        rounded = torch.round(bias.double() / scale).clamp(-(2**31) + 1, 2**31 - 1) * scale
        _replace(graph, node.args[2], rounded.float())
        count += 1
    return count


def _bias_scale(graph: GraphModule, node: Node) -> torch.Tensor:
    input_scale, _ = _qparams(graph, node.args[0])
    weight_scale, _ = _qparams(graph, node.args[1])
    # The runtimes multiply the two scales in float32.
    return (input_scale.float() * weight_scale.float()).double()


def state_tensors(converted: GraphModule) -> dict[str, torch.Tensor]:
    """Everything that defines the quantized program, by operator in execution order.

    For operator i: `i.input_scale`, `i.input_zero_point`, `i.weight` (int8), `i.weight_scale`, `i.bias` (int32);
    for the logits: `output.scale`, `output.zero_point`; all pairs of activations: `activations` [n, 2] float64.
    """
    tensors: dict[str, torch.Tensor] = {}
    for index, node in enumerate(n for n in operators(converted, _weighted()) if _is_quantized(n)):
        weight = node.args[1]
        tensors[f"{index}.input_scale"], tensors[f"{index}.input_zero_point"] = _qparams(converted, node.args[0])
        tensors[f"{index}.weight"] = tensor_of(converted, weight.args[0])  # type: ignore[union-attr]
        tensors[f"{index}.weight_scale"] = _qparams(converted, weight)[0]
        if len(node.args) > 2 and isinstance(node.args[2], Node):
            scaled = tensor_of(converted, node.args[2]).double() / _bias_scale(converted, node)
            tensors[f"{index}.bias"] = scaled.round().to(torch.int32)
    output = next(n for n in converted.graph.nodes if n.op == "output").all_input_nodes[0]
    tensors["output.scale"], tensors["output.zero_point"] = _qparams(converted, output)
    per_tensor, _ = _dequantize()
    pairs = [[float(value) for value in _qparams(converted, node)] for node in operators(converted, per_tensor)]
    tensors["activations"] = torch.tensor(pairs, dtype=torch.float64)
    return tensors


def digest(tensors: dict[str, torch.Tensor]) -> str:
    """SHA-256 over names, types, shapes and values of `state_tensors`."""
    found = hashlib.sha256()
    for name, tensor in tensors.items():
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(tensor.contiguous().numpy().tobytes())
    return found.hexdigest()
