"""Root mean square norms in a form that float16 holds."""

from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from edgedistill.quantize.graph import operators

_ATEN = torch.ops.aten


def bound_squares(graph: GraphModule) -> int:
    """Write each product of values with `rsqrt` of the mean of their squares as `normed`, in place; returns how many."""
    count = 0
    for node in operators(graph, (_ATEN.mul.Tensor,)):
        if (found := _norm(*node.args[:2])) is not None:
            node.target, node.args = normed, found
            count += 1
    graph.graph.eliminate_dead_code()
    return count


def normed(x: Tensor, axes: list[int], eps: float) -> Tensor:
    """`x` over the root of the mean of its squares plus `eps` (Zhang and Sennrich 2019, arXiv 1910.07467).

    No square exceeds 1: float16 ends at 65504, and language models have values of several hundred between their layers. The result is the
    same for any scale, so that it does not matter how exactly a runtime divides.
    """
    scale = 1 / x.abs().amax(axes, keepdim=True).clamp(min=1)
    bounded = x * scale
    return x * (torch.rsqrt((bounded * bounded).mean(axes, keepdim=True) + eps * scale * scale) * scale)


def _norm(value: Any, root: Any) -> tuple[Node, list[int], float] | None:
    """The values, axes and epsilon of a norm: value * rsqrt(mean(value ** 2) + eps); None for another product."""
    total = _argument(root, _ATEN.rsqrt.default)
    mean = _argument(total, _ATEN.add.Tensor)
    square = _argument(mean, _ATEN.mean.dim)
    if _argument(square, _ATEN.pow.Tensor_Scalar) is not value or value is None or square.args[1] != 2:
        return None
    eps, kept = total.args[1], mean.args[2:3]
    return (value, mean.args[1], eps) if kept == (True,) and isinstance(eps, float) else None


def _argument(node: Any, target: object) -> Any:
    """The first argument of a call of `target`; None for anything else."""
    return node.args[0] if isinstance(node, Node) and node.target == target else None
