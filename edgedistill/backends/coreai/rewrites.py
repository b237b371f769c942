"""Rewrites of a program for what coreai-torch has no rule for, or takes for something else (0.4.3)."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from edgedistill.quantize.build import call, replace, write_by
from edgedistill.quantize.graph import operators

_ATEN = torch.ops.aten
_CASTS = (_ATEN.to.dtype, _ATEN._to_copy.default)
_POOL = _ATEN.adaptive_avg_pool2d.default


def write_out(graph: GraphModule) -> int:
    """Write ELU, SELU, variances, standard deviations and masks as their formula, in place; returns how many."""
    formulas: dict[Any, Any] = {
        _ATEN.elu.default: _elu, _ATEN.elu_.default: _elu, _ATEN.selu.default: _selu, _ATEN.selu_.default: _selu,
        _ATEN.var.correction: _variance, _ATEN.var.dim: _variance_of_dims, _ATEN.std.correction: _deviation,
        _ATEN.std.dim: _deviation_of_dims, _ATEN.masked_fill.Scalar: _masked,
    }  # fmt: skip
    return write_by(graph, formulas)


def write_means(graph: GraphModule) -> int:
    """Write each average over a whole image as a mean, in place; returns how many.

    Where channels are last in memory, the pooling is decomposed into a mean and as_strided, for which there is no rule.
    """
    nodes = [node for node in operators(graph, (_POOL,)) if list(node.args[1]) == [1, 1]]  # type: ignore[arg-type]
    for node in nodes:
        with graph.graph.inserting_before(node):
            replace(graph, node, call(graph, node, _ATEN.mean.dim, node.args[0], [-1, -2], True))
    return len(nodes)


def truncate_casts(graph: GraphModule) -> int:
    """Truncate floating-point values before they become integers, in place; returns how often. Core AI's cast rounds to the nearest."""
    casts = [node for node in operators(graph, _CASTS) if not _is_float(node) and _is_float(node.all_input_nodes[0])]
    for node in casts:
        source = node.all_input_nodes[0]
        with graph.graph.inserting_before(node):
            node.replace_input_with(source, call(graph, node, _ATEN.trunc.default, source))
    return len(casts)


def _is_float(node: Node) -> bool:
    return bool(node.meta["val"].is_floating_point())


def _masked(x: Tensor, mask: Tensor, value: float) -> Tensor:
    """As a sum, with the largest finite number for an infinite one: the converter crashes where a stored mask chooses."""
    limit = torch.finfo(torch.float32).max
    return x * (~mask).to(x.dtype) + mask.to(x.dtype) * min(max(value, -limit), limit)


def _elu(x: Tensor, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Tensor:
    """Clevert et al. 2015, arXiv 1511.07289, equation 15."""
    return scale * (x.relu() + alpha * (torch.exp(input_scale * x.clamp(max=0.0)) - 1))


def _selu(x: Tensor) -> Tensor:
    """Klambauer et al. 2017, arXiv 1706.02515, equation 2."""
    return _elu(x, 1.6732632423543772, 1.0507009873554805)


def _variance(x: Tensor, dim: Sequence[int] | None = None, *, correction: float | None = None, keepdim: bool = False) -> Tensor:
    axes = list(range(x.ndim)) if not dim else list(dim)
    count = math.prod(x.shape[axis] for axis in axes)
    squares = (x - x.mean(axes, keepdim=True)).square()
    return squares.mean(axes, keepdim=keepdim) * (count / (count - (1 if correction is None else correction)))


def _variance_of_dims(x: Tensor, dim: Sequence[int] | None, unbiased: bool = True, keepdim: bool = False) -> Tensor:
    return _variance(x, dim, correction=float(unbiased), keepdim=keepdim)


def _deviation(x: Tensor, dim: Sequence[int] | None = None, *, correction: float | None = None, keepdim: bool = False) -> Tensor:
    return _variance(x, dim, correction=correction, keepdim=keepdim).sqrt()


def _deviation_of_dims(x: Tensor, dim: Sequence[int] | None, unbiased: bool = True, keepdim: bool = False) -> Tensor:
    return _variance_of_dims(x, dim, unbiased, keepdim).sqrt()
