"""The nodes that a runtime executes, and the report on them."""

from collections import Counter, defaultdict
from dataclasses import dataclass
from math import prod
from typing import Any

from edgedistill.backends.delegation.reasons import why
from edgedistill.backends.inspect.graph import stored_bytes, total_macs, unavailable

_LAYERS = 20
# By runtime: TRANSPOSE; Transpose and what ONNX Runtime inserts around its blocked convolutions; StaticTranspose is XNNPACK's in a .pte.
_TRANSPOSES = {
    "TRANSPOSE", "Transpose", "ReorderInput", "ReorderOutput", "StaticTranspose",
    "permute_copy", "transpose_copy", "t_copy", "_to_dim_order_copy", "_clone_dim_order", "transpose", "permute",
}  # fmt: skip


@dataclass(frozen=True)
class Node:
    """One operation that runs: its operator, who computes it, the layer it came from, whether the accelerated kernels left it."""

    operator: str
    by: str
    layer: str
    outside: bool
    costs: dict[str, Any]


@dataclass(frozen=True)
class Reading:
    """What was found in a file. `quantized` tells whether there are kernels that an operator could have fallen back from.

    delegate: what left the operators, where that is not what the format usually has.
    why: the reason for all that is left, where there is one.
    """

    partitions: int
    nodes: list[Node]
    quantized: bool = True
    delegate: str | None = None
    why: str | None = None


def report(kind: str, reading: Reading) -> dict[str, Any]:
    """The report of a file of format `kind`; see `delegation`. At most 20 layers of an operator are named."""
    operators: dict[str, Counter[str]] = defaultdict(Counter)
    left: dict[str, list[str]] = defaultdict(list)
    for node in reading.nodes:
        operators[node.by][node.operator] += 1
        if node.outside:
            left[node.operator].append(node.layer)
    return {
        "partitions": reading.partitions,
        "outside": {operator: len(layers) for operator, layers in left.items()},
        "operators": {by: dict(found) for by, found in operators.items()},
        "fallbacks": [
            {
                "operator": operator,
                "count": len(layers),
                "layers": layers[:_LAYERS],
                "why": reading.why or why(reading.delegate or kind, operator),
            }
            for operator, layers in left.items()
            if reading.quantized
        ],
        "transposes": dict(Counter(node.operator for node in reading.nodes if node.operator in _TRANSPOSES)),
        **totals([{"name": n.layer, "operator": n.operator, "delegate": None if n.outside else n.by, **n.costs} for n in reading.nodes]),
    }


def totals(layers: list[dict[str, Any]]) -> dict[str, Any]:
    """The layers, and the sums of their multiply-accumulates and of their weights' bytes."""
    return {"layers": layers, "macs": total_macs(layers), "bytes": sum(layer["bytes"] for layer in layers)}


def costs(layer: dict[str, Any]) -> dict[str, Any]:
    """What a layer of `inspect` costs: multiply-accumulates, bytes of its weights, bytes of its result."""
    kind, shape = layer["type"], layer["output_shape"]
    if isinstance(kind, str) and isinstance(shape, list) and all(isinstance(size, int) for size in shape):
        result: Any = stored_bytes(kind, prod(shape))
    else:
        result = unavailable("the file does not give the type and a fixed shape of its result")
    return {"macs": layer["macs"], "bytes": layer["weight_bytes"], "activation_bytes": result}
