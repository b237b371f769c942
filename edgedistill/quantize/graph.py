"""Reads operators and tensors of an exported graph."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.fx import GraphModule, Node

_ATEN = torch.ops.aten
# They pass on each value unchanged.
PASSING = (
    _ATEN.flatten.using_ints, _ATEN.view.default, _ATEN.reshape.default, _ATEN.squeeze.dims, _ATEN.squeeze.dim, _ATEN.dropout.default,
)  # fmt: skip

ACTIVATIONS = (_ATEN.relu.default, _ATEN.relu_.default, _ATEN.hardtanh.default, _ATEN.hardtanh_.default)
"""They are fused into the layer before them."""
CONVOLUTIONS = (
    _ATEN.conv1d.default, _ATEN.conv1d.padding, _ATEN.conv2d.default, _ATEN.conv2d.padding, _ATEN.conv3d.default, _ATEN.conv3d.padding,
)  # fmt: skip
TRANSPOSED = (_ATEN.conv_transpose1d.default, _ATEN.conv_transpose2d.input)
"""Their weights are [in, out / groups, ...], with the scales along the second axis."""
WEIGHTED = (*CONVOLUTIONS, *TRANSPOSED, _ATEN.linear.default)

_UNQUANTIZED = (
    _ATEN.conv_transpose3d.input, _ATEN.embedding.default, _ATEN.gru.input, _ATEN.lstm.input, _ATEN.rnn_tanh.input,
    _ATEN.rnn_relu.input,
)  # fmt: skip
"""Operators with weights that the quantizer leaves in floating point."""


def operators(graph: GraphModule, targets: Sequence[object]) -> list[Node]:
    """The call nodes of `graph` whose target is one of `targets`, in execution order."""
    return [node for node in graph.graph.nodes if node.op == "call_function" and node.target in targets]


def tensor_of(graph: GraphModule, argument: object) -> torch.Tensor:
    """The parameter, buffer or number that an argument of an operator stands for."""
    if not isinstance(argument, Node):
        return torch.tensor(argument)
    value: object = graph
    for part in str(argument.target).split("."):
        value = getattr(value, part)
    return value.detach()  # type: ignore[attr-defined]


def outputs_of(graph: GraphModule) -> list[Node]:
    """The nodes of the outputs of the program, in order."""
    (given,) = next(n for n in graph.graph.nodes if n.op == "output").args
    return list(given) if isinstance(given, (list, tuple)) else [given]


def last_layers(graph: GraphModule) -> list[tuple[Node | None, list[Node]]]:
    """For each output its layer and the quantize and dequantize nodes after the layer, last first; see `_last_layer`."""
    return [_last_layer(node) for node in outputs_of(graph)]


def _last_layer(node: Node) -> tuple[Node | None, list[Node]]:
    """The layer of `node`, and the steps in between; (None, []) if other operators lie in between."""
    ops = torch.ops.quantized_decomposed
    steps: list[Node] = []
    while node.target not in WEIGHTED:
        if node.target in (ops.quantize_per_tensor.default, ops.dequantize_per_tensor.default):
            steps.append(node)
        elif node.target not in PASSING:
            return None, []
        if not node.all_input_nodes:
            return None, []
        node = node.all_input_nodes[0]
    return node, steps


def layer_of(node: Node) -> str:
    """The path in the student of the module of a node, or else the node's name."""
    return path_of(node).removeprefix("model.") or node.name


def path_of(node: Node) -> str:
    """The path of the module of a node in the module that was traced; empty where the node says none."""
    stack = node.meta.get("nn_module_stack") or {}
    path = next(reversed(stack.values()))[0] if stack else ""
    return str(path).removeprefix("L['self'].")


def float_layers(graph: GraphModule) -> list[str]:
    """Layers with weights of a quantized graph that compute in floating point; see `layer_of`."""

    def quantized(node: Node) -> bool:
        return all(isinstance(argument, Node) and "dequantize" in str(argument.target) for argument in node.args[:2])

    stored = operators(graph, (*WEIGHTED, *_UNQUANTIZED))
    return [layer_of(node) for node in stored if node.target in _UNQUANTIZED or not quantized(node)]


def operator_of(node: Node) -> str:
    """The plain name of the operator of a node, such as conv2d or relu; for an input its own name."""
    return node.name if node.op == "placeholder" else str(node.target).removeprefix("aten.").partition(".")[0]


def replace(graph: GraphModule, node: object, value: torch.Tensor) -> None:
    """Set the parameter or buffer that `node` reads to `value`."""
    owner, _, name = str(node.target).rpartition(".")  # type: ignore[attr-defined]
    setattr(graph.get_submodule(owner), name, nn.Parameter(value, requires_grad=False))


def float32(value: Any) -> float:
    """`value` rounded to float32 as in every file, so that the state has the value that runtimes use."""
    return float(torch.tensor(value, dtype=torch.float32))
