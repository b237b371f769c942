"""Fits the layers of a calibrated program to the float program, one after the other: rounding of weights, and biases."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node
from torch.nn import functional as F

from edgedistill.quantize.channels import groups_of
from edgedistill.quantize.graph import WEIGHTED, replace, tensor_of
from edgedistill.quantize.pooling import is_pooling

Batches = Sequence[tuple[Tensor, ...]]
_ATEN = torch.ops.aten
_DAMPING = 0.01
_PLANAR = (_ATEN.conv2d.default, _ATEN.linear.default)
_MOST_READ = 2048
"""Values that an output channel may read where rounding is fitted: time grows with the cube. Other layers round to the nearest."""
_BLOCK = 64
_MEMORY = 2**29
"""Bytes that the largest tensor may take for all samples; about four such tensors are there at once."""


def float_twin(prepared: GraphModule) -> GraphModule:
    """The float program of a calibrated one: a copy without observers, with the same names of nodes."""
    graph = copy.deepcopy(prepared)
    for node in [n for n in graph.graph.nodes if n.op == "call_module" and "activation_post_process" in str(n.target)]:
        node.replace_all_uses_with(node.args[0])
        graph.graph.erase_node(node)
    graph.recompile()
    return graph


def reconstruct(unfolded: GraphModule, reference: GraphModule, batches: Batches, *, rounding: bool) -> int:
    """Fit each quantized layer of `unfolded` to the layer of the same name in `reference`, in place; returns how many.

    unfolded: a converted program with float weights, see `state.QuantizedState`. reference: the float program, see `float_twin`.
    batches: each holds the inputs of the program in their order; the first of them, as far as memory goes.

    Layers are fitted in the order of execution, each with the inputs that the quantized layers before it give.
    rounding: choose for each weight the step that keeps the layer's output on the samples close, see `_rounded`.
    Biases then take the mean difference of each output channel (Nagel et al. 2019, arXiv 1906.04721, section 4.2).
    """
    batches = _few(reference, batches)
    exact, rounded = _Walk(reference, batches), _Walk(unfolded, batches)
    count = 0
    with torch.no_grad():
        for node in unfolded.graph.nodes:
            wanted = exact.until(node.name) if _fits(node) else None
            if wanted is not None:
                _fit(unfolded, rounded, node, wanted, rounding=rounding)
                count += 1
            rounded.step(node)
    unfolded.recompile()
    return count


class _Largest(Interpreter):
    """Notes the bytes of the largest tensor of a program."""

    bytes = 0

    def run_node(self, n: Node) -> object:
        value = super().run_node(n)
        if isinstance(value, Tensor) and n.op == "call_function":
            self.bytes = max(self.bytes, value.nbytes)
        return value


def _few(graph: GraphModule, batches: Batches) -> Batches:
    """The first batches: as many as can be computed at once, operator by operator."""
    largest = _Largest(graph)
    with torch.no_grad():
        largest.run(*batches[0])
    return batches[: max(1, _MEMORY // largest.bytes)]


class _Walk:
    """Runs a graph operator by operator on all batches at once, and forgets what nobody reads any more."""

    def __init__(self, graph: GraphModule, batches: Batches) -> None:
        self.runs = [Interpreter(graph) for _ in batches]
        for run, batch in zip(self.runs, batches, strict=True):
            run.args_iter = iter(batch)
        self.nodes = iter(graph.graph.nodes)

    def step(self, node: Node) -> None:
        """Compute `node`."""
        for run in self.runs:
            run.env[node] = run.run_node(node)
            for read in run.user_to_last_uses.get(node, []):
                del run.env[read]

    def until(self, name: str) -> list[Tensor]:
        """The values of the node `name`, which is computed with all before it."""
        for node in self.nodes:
            self.step(node)
            if node.name == name:
                return self.values(node)
        raise ValueError(f"found no node {name} in the float program, or in another order")

    def replace(self, node: object, value: Tensor) -> None:
        """Let `node`, which was computed, have another value for every batch."""
        for run in self.runs:
            run.env[node] = value  # type: ignore[index]

    def values(self, node: object) -> list[Tensor]:
        """What `node` is for each batch."""
        return [run.env[node] for run in self.runs]  # type: ignore[index]


def _fits(node: Node) -> bool:
    """Whether `node` is a quantized layer with weights that training made."""
    if node.op != "call_function" or node.target not in WEIGHTED:
        return False
    if not all(isinstance(argument, Node) and "dequantize" in str(argument.target) for argument in node.args[:2]):
        return False
    return not is_pooling(_steps(node)[0].args[0])


def _steps(layer: Node) -> tuple[Node, Node]:
    """The nodes that quantize and dequantize the weight of a quantized layer."""
    dequantize: Any = layer.args[1]
    return dequantize.args[0], dequantize


def _fit(graph: GraphModule, walk: _Walk, node: Node, wanted: list[Tensor], *, rounding: bool) -> None:
    quantize, dequantize = _steps(node)
    inputs = walk.values(node.args[0])
    weight = walk.values(dequantize)[0]
    if rounding and node.target in _PLANAR and weight[0].numel() <= _MOST_READ:
        scale = tensor_of(graph, quantize.args[1])
        trained = tensor_of(graph, quantize.args[0])
        weight = _rounded(trained, scale, groups_of(node), _second_moments(node, weight, inputs))
        replace(graph, quantize.args[0], weight)
        walk.replace(dequantize, weight)
    if len(node.args) > 2 and isinstance(node.args[2], Node):
        bias = tensor_of(graph, node.args[2])
        axis = -1 if node.target == _ATEN.linear.default else 1
        total, positions = torch.zeros(len(bias), dtype=torch.float64), 0
        for given, exact in zip(inputs, wanted, strict=True):
            missing = (exact - node.target(given, weight, bias, *node.args[3:])).movedim(axis, 0).flatten(1)  # type: ignore[operator]
            total += missing.double().sum(1)
            positions += missing.shape[1]
        bias = bias + (total / positions).float()
        replace(graph, node.args[2], bias)
        walk.replace(node.args[2], bias)


def _second_moments(node: Node, weight: Tensor, inputs: list[Tensor]) -> Tensor:
    """The sum of x x^T over all positions of all samples, float64 [groups, K, K]; x are the K values that an output channel reads."""
    groups, size = groups_of(node), weight[0].numel()
    moments = torch.zeros(groups, size, size, dtype=torch.float64)
    for batch in inputs:
        if node.target == _ATEN.linear.default:
            windows = [batch.reshape(1, -1, size)]
        else:
            stride, padding, dilation = (_option(node, at, default) for at, default in ((3, 1), (4, 0), (5, 1)))
            # One image at a time: its windows are K / stride^2 times as large as itself.
            windows = [F.unfold(image[None], weight.shape[2:], dilation, padding, stride).reshape(groups, size, -1).mT for image in batch]
        for rows in windows:
            moments += (rows.mT @ rows).double()
    return moments


def _option(node: Node, at: int, default: int) -> tuple[int, int]:
    """The argument of a convolution at `at`, for height and width."""
    given = node.args[at] if len(node.args) > at else default
    pair = (given, given) if isinstance(given, int) else tuple(given)  # type: ignore[arg-type, call-overload]
    return pair if len(pair) == 2 else pair * 2


def _rounded(weight: Tensor, scale: Tensor, groups: int, moments: Tensor) -> Tensor:
    """`weight` [out, in / groups, ...] on its grid, so that outputs change least for inputs with the second moments `moments`.

    Rounding to the nearest is not best for the output of a layer (AdaRound, Nagel et al. 2020, arXiv 2004.10568, equation 14). The
    quadratic form is minimised weight by weight: those that are not rounded yet make up for the error of one (GPTQ, Frantar et al. 2022,
    arXiv 2210.17323, algorithm 1), in a closed form and without training.
    """
    rows = weight.double().reshape(groups, len(weight) // groups, -1).clone()
    steps = scale.double().reshape(groups, -1)
    size = rows.shape[-1]
    diagonal = moments.diagonal(dim1=1, dim2=2)
    damping = _DAMPING * diagonal.mean(1).clamp(min=torch.finfo(torch.float32).tiny)
    damped = moments + damping[:, None, None] * torch.eye(size, dtype=torch.float64)
    upper = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(damped)), upper=True)
    on_grid = torch.empty_like(rows)
    for start in range(0, size, _BLOCK):
        stop = min(start + _BLOCK, size)
        errors = torch.empty_like(rows[..., start:stop])
        for at in range(start, stop):
            on_grid[..., at] = (rows[..., at] / steps).round().clamp(-127, 127) * steps
            errors[..., at - start] = error = (rows[..., at] - on_grid[..., at]) / upper[:, at, at, None]
            rows[..., at + 1 : stop] -= error[..., None] * upper[:, None, at, at + 1 : stop]
        # The weights behind the block take all its errors in one product.
        rows[..., stop:] -= errors @ upper[:, start:stop, stop:]
    return on_grid.float().reshape(weight.shape)
