"""Arithmetic that begins with a constant, which LiteRT's converter takes wrongly (litert_torch 0.10)."""

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from edgedistill.quantize.graph import operators

_ATEN = torch.ops.aten


def put_constants_behind(graph: GraphModule) -> int:
    """Write `constant / x` and `constant - x` so that the constant stands behind, in place; returns how many.

    Where the converter moves the channels of `x` to the end, it divides `x` by the constant instead, and says nothing.
    """
    inverses = operators(graph, (_ATEN.reciprocal.default,))
    for node in inverses:
        node.target, node.args = _ATEN.pow.Tensor_Scalar, (node.args[0], -1.0)
    formulas = {_ATEN.div.Tensor: _quotient, _ATEN.sub.Tensor: _difference}
    begun = [node for node in operators(graph, tuple(formulas)) if _is_constant(node.args[0]) and not node.kwargs]
    for node in begun:
        node.target = formulas[node.target]  # type: ignore[index]
    return len(inverses) + len(begun)


def _is_constant(value: object) -> bool:
    return isinstance(value, Node) and value.op == "get_attr"


def _quotient(constant: Tensor, x: Tensor) -> Tensor:
    return x.pow(-1.0) * constant


def _difference(constant: Tensor, x: Tensor) -> Tensor:
    return x * -1.0 + constant
