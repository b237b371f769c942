"""The nodes that a runtime executes, and the report on them."""

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

from edgedistill.verify.delegation.reasons import why

_LAYERS = 20
# By runtime: TRANSPOSE; Transpose and what ONNX Runtime inserts around its blocked convolutions; StaticTranspose is XNNPACK's in a .pte.
_TRANSPOSES = {
    "TRANSPOSE", "Transpose", "ReorderInput", "ReorderOutput", "StaticTranspose",
    "permute_copy", "transpose_copy", "t_copy", "_to_dim_order_copy", "_clone_dim_order",
}  # fmt: skip


@dataclass(frozen=True)
class Node:
    """One operation that runs: its operator, who computes it, the layer it came from, whether the accelerated kernels left it."""

    operator: str
    by: str
    layer: str
    outside: bool


@dataclass(frozen=True)
class Reading:
    """What was found in a file. `quantized` tells whether there are kernels that an operator could have fallen back from."""

    partitions: int
    nodes: list[Node]
    quantized: bool = True


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
            {"operator": operator, "count": len(layers), "layers": layers[:_LAYERS], "why": why(kind, operator)}
            for operator, layers in left.items()
            if reading.quantized
        ],
        "transposes": dict(Counter(node.operator for node in reading.nodes if node.operator in _TRANSPOSES)),
    }
