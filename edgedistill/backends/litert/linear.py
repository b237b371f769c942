"""Linear layers that LiteRT's converter does not take (litert_torch 0.10)."""

import torch
from torch import Tensor
from torch.fx import GraphModule

from edgedistill.quantize.graph import operators

_MATRIX = 2


def flatten_vectors(graph: GraphModule) -> int:
    """Compute each floating-point linear layer of a single vector [1, 1, 1, C] on two dimensions, in place; returns how many.

    The converter makes a product of matrices of it whose result has another rank, and fails.
    """
    nodes = [node for node in operators(graph, (torch.ops.aten.linear.default,)) if _is_vector(node.args[0])]
    for node in nodes:
        node.target = _of_vector
    return len(nodes)


def _is_vector(source: object) -> bool:
    value = source.meta.get("val")  # type: ignore[attr-defined]
    quantized = "dequantize" in str(source.target)  # type: ignore[attr-defined]
    return not quantized and value is not None and value.ndim > _MATRIX and value.numel() == value.shape[-1]


def _of_vector(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return torch.nn.functional.linear(x.reshape(1, -1), weight, bias).reshape(*x.shape[:-1], -1)
