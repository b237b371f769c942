"""Which layers quantization costs most: the outputs with one layer after the other left in floating point."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from edgedistill.progress import track
from edgedistill.quantize.graph import last_layers, layer_of, outputs_of
from edgedistill.quantize.state import Trained
from edgedistill.records.steps import LayerFacts
from edgedistill.signature import Signature
from edgedistill.tasks.base import Arrays
from edgedistill.tasks.modules import batches_of, in_order
from edgedistill.verify.integer import Integers
from edgedistill.verify.kernels import real

_BATCH, _NUMBERS = 256, 3 * 2**21
"""Samples at once: fewer where they are large, since the values between layers are held for all of them."""
_OF_WEIGHTS = 3
"""Bytes that a weight takes more in float32 than in int8."""


@dataclass
class _Layer:
    """What is gathered of a layer, batch by batch."""

    outputs: list[list[Tensor]] = field(default_factory=list)
    signal: float = 0.0
    noise: float = 0.0
    macs: int = 0


@dataclass(frozen=True)
class Samples:
    """The samples of a scan, [N, ...] by the name of the input; batched: whether the program takes several at once."""

    signature: Signature
    arrays: Arrays
    batched: bool = True

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def batches(self) -> Iterator[tuple[Tensor, ...]]:
        """The inputs in their order, as many samples at once as fit."""
        numbers = sum(values[0].size for values in self.arrays.values())
        size = max(1, min(_BATCH, _NUMBERS // numbers)) if self.batched else 1
        return in_order(batches_of(self.arrays, size), self.signature.forward)

    def named(self, batches: list[list[Tensor]]) -> dict[str, np.ndarray]:
        """The outputs of all batches, [N, ...] by name."""
        specs = self.signature.outputs
        parts = {spec.name: [batch[place] for batch in batches] for place, spec in enumerate(specs)}
        return {spec.name: (torch.cat if spec.batched else torch.stack)(parts[spec.name]).numpy() for spec in specs}


def scan(graph: GraphModule, trained: dict[str, Trained], samples: Samples) -> tuple[Arrays, dict[str, Arrays], list[LayerFacts]]:
    """The outputs of a converted graph, those with each layer alone in floating point, and facts of the layers in execution order.

    Outputs: [N, ...] by name; the second by the name of the layer's node. They are those that `integer.IntegerReference` gives for the
    program of `mixed.leave_float`. What comes before a layer is computed once, as it is the same.

    The `sqnr_db` of a layer is the signal-to-noise ratio of its result before it is rounded, which the rounding of its weights and bias
    alone leaves: 10 log10 of the mean square of the float result over that of its difference.

    One layer at a time: "Exploring Neural Networks Quantization via Layer-Wise Quantization Analysis" (arXiv 2012.08420); also the
    debugging of Nagel et al. 2021, "A White Paper on Neural Network Quantization" (arXiv 2106.08295).
    """
    layers = {name: _Layer() for name in trained}
    whole = []
    with torch.no_grad(), track("sensitivity", len(samples)) as progress:
        for batch in samples.batches():
            whole.append(_forked(graph, trained, batch, layers))
            progress.advance(len(batch[0]))
    nodes = {node.name: node for node in graph.graph.nodes}
    facts = [_fact(nodes[name], trained[name], layer, len(samples)) for name, layer in layers.items()]
    return samples.named(whole), {name: samples.named(layer.outputs) for name, layer in layers.items()}, facts


def _forked(graph: GraphModule, trained: dict[str, Trained], batch: tuple[Tensor, ...], layers: dict[str, _Layer]) -> list[Tensor]:
    """The outputs for `batch`; each layer of `trained` starts another evaluation, of what comes behind it only."""
    nodes = list(graph.graph.nodes)
    steps_behind = {layer: steps for layer, steps in last_layers(graph) if layer is not None}
    run = Integers(graph, ())
    run.env = dict(zip((node for node in nodes if node.op == "placeholder"), batch, strict=True))
    for position, node in enumerate(nodes):
        if node.op == "output":
            break
        if node.op != "placeholder":
            run.env[node] = run.run_node(node)
        if node.name in trained:
            layer, value = layers[node.name], _in_float(node, trained[node.name], run.env)
            layer.signal += float(value.square().sum())
            layer.noise += float((real(run.env[node]) - value).square().sum())
            layer.macs += value.numel() * trained[node.name].weight[0].numel()
            layer.outputs.append(_behind(graph, nodes[position + 1 :], run.env | {node: value}, steps_behind.get(node, [])))
        for dead in run.user_to_last_uses.get(node, ()):
            del run.env[dead]
    return _outputs(graph, run)


def _outputs(graph: GraphModule, run: Integers) -> list[Tensor]:
    values = [real(run.env[node]) for node in outputs_of(graph)]
    return [value.float() if value.is_floating_point() else value for value in values]


def _in_float(node: Node, trained: Trained, env: dict[Node, Any]) -> Tensor:
    """The result of a layer of which only the input was quantized, in float64."""
    bias = None if trained.bias is None else trained.bias.double()
    return node.target(real(env[node.all_input_nodes[0]]), trained.weight.double(), bias, *node.args[3:])  # type: ignore[operator]


def _behind(graph: GraphModule, nodes: list[Node], env: dict[Node, Any], skipped: list[Node]) -> list[Tensor]:
    """The outputs from the values `env` on; the nodes `skipped` give on what they get."""
    run = Integers(graph, ())
    # An operator that works in place must not change what the next layer starts from.
    run.env = {n: value.clone() if isinstance(value, Tensor) and n.op == "call_function" else value for n, value in env.items()}
    for node in nodes:
        if node.op == "output":
            break
        run.env[node] = run.env[node.args[0]] if node in skipped else run.run_node(node)  # type: ignore[index]
        for dead in run.user_to_last_uses.get(node, ()):
            run.env.pop(dead, None)
    return _outputs(graph, run)


def _fact(node: Node, trained: Trained, layer: _Layer, samples: int) -> LayerFacts:
    linear = node.target == torch.ops.aten.linear.default
    depthwise = not linear and trained.weight.shape[1] == 1 and trained.weight.shape[0] > 1
    return LayerFacts(
        node=node.name,
        layer=layer_of(node),
        kind="linear" if linear else "depthwise convolution" if depthwise else "convolution",
        bytes=_OF_WEIGHTS * trained.weight.numel(),
        macs=layer.macs // samples,
        sqnr_db=10 * math.log10(layer.signal / layer.noise) if layer.noise and layer.signal else None,
    )
