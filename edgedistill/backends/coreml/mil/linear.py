"""MIL operators that mix elements: products of matrices, attention, normalisations and reductions."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F

from edgedistill.backends.coreml.mil.values import Operator, Tensor, channelwise, ints
from edgedistill.measure.runner.refusal import NotExecutable


def _linear(x: Tensor, weight: Tensor, bias: Any = None) -> Tensor:
    return F.linear(x, weight, bias)


def _matmul(x: Tensor, y: Tensor, transpose_x: Any = False, transpose_y: Any = False) -> Tensor:
    return (x.mT if transpose_x else x) @ (y.mT if transpose_y else y)


def _einsum(values: list[Tensor], equation: str) -> Tensor:
    return torch.einsum(equation, values)


def _attention(query: Tensor, key: Tensor, value: Tensor, attn_mask: Any = None) -> Tensor:
    """softmax(QK^T / sqrt(E) + mask) V: a float mask is added, a boolean one says what takes part."""
    scores = query @ key.mT / math.sqrt(query.shape[-1])
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, -torch.inf) if attn_mask.dtype == torch.bool else scores + attn_mask
    return torch.softmax(scores, -1) @ value


def _batch_norm(x: Tensor, mean: Tensor, variance: Tensor, epsilon: Any = 1e-5, gamma: Any = None, beta: Any = None) -> Tensor:
    return F.batch_norm(x, mean, variance, gamma, beta, False, 0.0, float(epsilon))


def _normalized(x: Tensor, dims: list[int], epsilon: Any) -> Tensor:
    variance, mean = torch.var_mean(x, dims, correction=0, keepdim=True)
    return (x - mean) / torch.sqrt(variance + epsilon)


def _instance_norm(x: Tensor, gamma: Any = None, beta: Any = None, epsilon: Any = 1e-5) -> Tensor:
    y = _normalized(x, list(range(2, x.ndim)), epsilon)
    y = y if gamma is None else y * channelwise(gamma, x, 1)
    return y if beta is None else y + channelwise(beta, x, 1)


def _layer_norm(x: Tensor, axes: Any = None, gamma: Any = None, beta: Any = None, epsilon: Any = 1e-5) -> Tensor:
    dims = _dims(x, axes)
    shape = [size if axis in dims else 1 for axis, size in enumerate(x.shape)]
    y = _normalized(x, dims, epsilon)
    y = y if gamma is None else y * gamma.reshape(shape)
    return y if beta is None else y + beta.reshape(shape)


def _l2_norm(x: Tensor, epsilon: Any = 1e-6) -> Tensor:
    return x / torch.sqrt(x.square().sum((-3, -2, -1), keepdim=True) + epsilon)


def _local_response_norm(x: Tensor, size: Any, alpha: Any = 1e-4, beta: Any = 0.75, k: Any = 1.0) -> Tensor:
    if int(size) % 2 == 0:
        raise NotExecutable(f"found the even size {int(size)}, for which the neighbours that count are not documented")
    return F.local_response_norm(x, int(size), float(alpha), float(beta), float(k))


def _dims(x: Tensor, axes: Any) -> list[int]:
    return list(range(x.ndim)) if axes is None else [axis % x.ndim for axis in ints(axes)]


def _reduce(function: Callable[..., Tensor]) -> Operator:
    def reduce(x: Tensor, axes: Any = None, keep_dims: Any = False) -> Tensor:
        return function(x, dim=_dims(x, axes), keepdim=bool(keep_dims))

    return reduce


def _product(x: Tensor, dim: list[int], keepdim: bool) -> Tensor:
    # torch multiplies along one axis at a time; the last first, so that the others keep their places.
    for axis in sorted(dim, reverse=True):
        x = x.prod(axis, keepdim=keepdim)
    return x


def _arg(function: Callable[..., Tensor]) -> Operator:
    def arg(x: Tensor, axis: Any = -1, keep_dims: Any = False, output_dtype: Any = "int32") -> Tensor:
        return function(x, dim=int(axis), keepdim=bool(keep_dims)).double()

    return arg


def _cumsum(x: Tensor, axis: Any = 0, exclusive: Any = False, reverse: Any = False) -> Tensor:
    dim = int(axis)
    y = x.flip(dim) if reverse else x
    total = y.cumsum(dim)
    if exclusive:
        total = torch.cat([torch.zeros_like(total.narrow(dim, 0, 1)), total.narrow(dim, 0, x.shape[dim] - 1)], dim)
    return total.flip(dim) if reverse else total


def _topk(
    x: Tensor,
    k: Any = 1,
    axis: Any = -1,
    ascending: Any = False,
    sort: Any = True,
    return_indices: Any = True,
    output_indices_dtype: Any = "int32",
) -> Tensor | tuple[Tensor, Tensor]:
    """Sorted whether `sort` asks for it or not: without it any order is right."""
    values, indices = torch.sort(x, dim=int(axis), descending=not ascending, stable=True)
    count = x.shape[int(axis)] if int(k) < 0 else int(k)
    best = values.narrow(int(axis), 0, count)
    return (best, indices.narrow(int(axis), 0, count).double()) if return_indices else best


LINEAR: dict[str, Operator] = {
    "batch_norm": _batch_norm,
    "einsum": _einsum,
    "instance_norm": _instance_norm,
    "l2_norm": _l2_norm,
    "layer_norm": _layer_norm,
    "linear": _linear,
    "local_response_norm": _local_response_norm,
    "matmul": _matmul,
    "scaled_dot_product_attention": _attention,
    "argsort": lambda x, axis=-1, ascending=False: torch.argsort(x, dim=int(axis), descending=not ascending, stable=True).double(),
    "cumsum": _cumsum,
    "reduce_argmax": _arg(torch.argmax),
    "reduce_argmin": _arg(torch.argmin),
    "reduce_l1_norm": _reduce(lambda x, dim, keepdim: x.abs().sum(dim, keepdim)),
    "reduce_l2_norm": _reduce(lambda x, dim, keepdim: x.square().sum(dim, keepdim).sqrt()),
    "reduce_log_sum": _reduce(lambda x, dim, keepdim: x.sum(dim, keepdim).log()),
    "reduce_log_sum_exp": _reduce(torch.logsumexp),
    "reduce_max": _reduce(torch.amax),
    "reduce_mean": _reduce(torch.mean),
    "reduce_min": _reduce(torch.amin),
    "reduce_prod": _reduce(_product),
    "reduce_sum": _reduce(torch.sum),
    "reduce_sum_square": _reduce(lambda x, dim, keepdim: x.square().sum(dim, keepdim)),
    "topk": _topk,
}
