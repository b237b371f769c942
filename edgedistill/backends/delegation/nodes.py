"""The nodes that a runtime executes, and the report on them."""

from collections import Counter, defaultdict
from dataclasses import dataclass
from math import prod

from edgedistill.backends.delegation.reasons import why
from edgedistill.backends.inspect.graph import stored_bytes, total_macs
from edgedistill.records import Delegation, Unavailable, UnknownDelegation
from edgedistill.records.inspection import Content, InspectedLayer
from edgedistill.records.results import Fallback, Layer

_LAYERS = 20
# By runtime: TRANSPOSE; Transpose and what ONNX Runtime inserts around its blocked convolutions; StaticTranspose is XNNPACK's in a .pte.
_TRANSPOSES = {
    "TRANSPOSE", "Transpose", "ReorderInput", "ReorderOutput", "StaticTranspose",
    "permute_copy", "transpose_copy", "t_copy", "_to_dim_order_copy", "_clone_dim_order", "transpose", "permute",
}  # fmt: skip


@dataclass(frozen=True)
class Node:
    """One operation that runs: who computes it, and its layer, whose `delegate` is None where the accelerated kernels left it."""

    by: str
    layer: Layer


@dataclass(frozen=True)
class Reading:
    """The nodes of a file. `quantized` tells whether there are kernels that an operator could have fallen back from.

    delegate: what left the operators, where that is not what the format usually has.
    why: the reason for all that is left, where there is one.
    """

    partitions: int
    nodes: list[Node]
    quantized: bool = True
    delegate: str | None = None
    why: str | None = None


def report(kind: str, reading: Reading) -> Delegation:
    """The delegation of a file of format `kind`. At most 20 layers of an operator are named."""
    layers = [node.layer for node in reading.nodes]
    operators: dict[str, Counter[str]] = defaultdict(Counter)
    left: dict[str, list[str]] = defaultdict(list)
    for node in reading.nodes:
        operators[node.by][node.layer.operator] += 1
        if node.layer.delegate is None:
            left[node.layer.operator].append(node.layer.name)
    fallbacks = [
        Fallback(
            operator=operator,
            count=len(names),
            layers=names[:_LAYERS],
            why=reading.why or why(reading.delegate or kind, operator),
        )
        for operator, names in left.items()
        if reading.quantized
    ]
    return Delegation(
        partitions=reading.partitions,
        outside={operator: len(names) for operator, names in left.items()},
        operators={by: dict(counts) for by, counts in operators.items()},
        fallbacks=fallbacks,
        transposes=dict(Counter(layer.operator for layer in layers if layer.operator in _TRANSPOSES)),
        layers=layers,
        macs=total_macs([layer.macs for layer in layers]),
        bytes=sum(layer.bytes for layer in layers),
    )


def unknown(content: Content, why: str) -> UnknownDelegation:
    """The operators and layers of a file of which nothing here tells who computes them."""
    layers = [layer_of(layer, None) for layer in content.layers]
    return UnknownDelegation(
        unavailable=why,
        operators={"program": content.operators},
        layers=layers,
        macs=total_macs([layer.macs for layer in layers]),
        bytes=sum(layer.bytes for layer in layers),
    )


def layer_of(inspected: InspectedLayer, delegate: str | None, *, name: str | None = None, operator: str | None = None) -> Layer:
    """A layer of `inspect` with who computes it and with the bytes of its result; `name` and `operator` are others than its own."""
    kind, shape = inspected.type, inspected.output_shape
    activation_bytes: int | Unavailable = Unavailable(unavailable="the file does not give the type and a fixed shape of its result")
    if isinstance(kind, str) and isinstance(shape, list):
        sizes = [size for size in shape if isinstance(size, int)]
        if len(sizes) == len(shape):
            activation_bytes = stored_bytes(kind, prod(sizes))
    return Layer(
        name=inspected.name if name is None else name,
        operator=inspected.operator if operator is None else operator,
        delegate=delegate,
        macs=inspected.macs,
        bytes=inspected.weight_bytes,
        activation_bytes=activation_bytes,
    )
