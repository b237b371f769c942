"""Quantization-aware training for a dynamic precision: weights lie on its grid, and each linear layer rounds its input as runtimes do."""

from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.nn.utils import parametrize

from edgedistill.errors import UserError
from edgedistill.quantize.graph import PASSING, operators, path_of, tensor_of
from edgedistill.quantize.grid import lookups, on_grid, scheme_of, weighted
from edgedistill.quantize.rounding import row_steps
from edgedistill.quantize.trace import trace
from edgedistill.signature import Signature

_ATEN = torch.ops.aten
_SEEN_THROUGH = (*PASSING, _ATEN._assert_tensor_metadata.default, _ATEN.to.dtype, _ATEN.to.dtype_layout)


def prepare(model: nn.Module, signature: Signature, precision: str) -> nn.Module:
    """Let `model` compute with weights on the grid of `precision`, a dynamic one, in place; returns it.

    The values of a weight are those that `grid.put_on_grid` gives, bit for bit; its gradient passes the rounding unchanged, as does that of
    an input (Bengio et al. 2013, arXiv 1308.3432). Which layers and tables have a grid is found in a trace by `signature`, for batches of
    any size. Weights and biases of layer norms move into the linear layers behind them, as they do before a program is put on its grid.

    torchao 0.18 has such fake quantization as well, but of another grid: int4 from -8 to 7, with scales that are not rounded.

    Raises UserError where a weight with a grid belongs to another module than nn.Linear or nn.Embedding.
    """
    graph = trace(model.eval(), signature, any_batch=True).module(check_guards=False)
    assert isinstance(graph, GraphModule)
    _fold_norms(model, graph)
    for path, table in {path_of(node): node.args[0] for node in lookups(graph)}.items():
        _put(model, path, nn.Embedding, tensor_of(graph, table), "int8")
    for path, weight in {path_of(node): node.args[1] for node in weighted(graph, precision)}.items():
        values = tensor_of(graph, weight)
        _put(model, path, nn.Linear, values, scheme_of(precision, tuple(values.shape)))
        model.get_submodule(path).register_forward_pre_hook(_rounded)
    return model


def stripped(model: nn.Module) -> nn.Module:
    """A prepared `model` with its trained weights in floating point, what `grid.put_on_grid` starts from; in place, copies of it break."""
    for module in list(model.modules()):
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)
        for key in [key for key, hook in module._forward_pre_hooks.items() if hook is _rounded]:
            del module._forward_pre_hooks[key]
    return model


def _put(model: nn.Module, path: str, kind: type[nn.Module], weight: Tensor, scheme: str) -> None:
    module = model.get_submodule(path)
    if not isinstance(module, kind) or module.weight.shape != weight.shape:
        raise UserError(
            f"found a weight of {scheme} in {type(module).__name__} ({path or 'the model'}), expected {kind.__name__}: "
            "the stage qat can't train this model for 4 bits"
        )
    parametrize.register_parametrization(module, "weight", _OnGrid(scheme))


class _OnGrid(nn.Module):
    """A weight as `scheme` stores it."""

    def __init__(self, scheme: str) -> None:
        super().__init__()
        self.scheme = scheme

    def forward(self, weight: Tensor) -> Tensor:
        return _StraightThrough.apply(weight, on_grid(weight, self.scheme))  # type: ignore[no-any-return, no-untyped-call]


class _StraightThrough(torch.autograd.Function):
    """`rounded`, with the gradient of `value`. The sum value + (rounded - value) would leave the grid by a rounding error."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, rounded: Tensor) -> Tensor:
        return rounded

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return gradient, None


def _rounded(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The input of a linear layer on the grid of each of its rows."""
    (x,) = inputs
    with torch.no_grad():
        steps, scale = row_steps(x)
        steps *= scale
    return (_StraightThrough.apply(x, steps),)  # type: ignore[no-untyped-call]


def _fold_norms(model: nn.Module, graph: GraphModule) -> None:
    """Move weight and bias of each layer norm before linear layers alone into these, for good: both stay 1 and 0.

    A tied table is untied by it, as in a program on its grid.
    """
    calls = Counter(path_of(node) for node in operators(graph, (_ATEN.linear.default,)))
    for node in operators(graph, (_ATEN.layer_norm.default,)):
        norm, readers = model.get_submodule(path_of(node)), _readers(node)
        linear = [reader.target == _ATEN.linear.default and calls[path_of(reader)] == 1 for reader in readers]
        if not isinstance(norm, nn.LayerNorm) or not norm.elementwise_affine or not all(linear):
            continue
        for layer in (model.get_submodule(path_of(reader)) for reader in readers):
            assert isinstance(layer, nn.Linear)
            if norm.bias is not None:
                shift = layer.weight.detach() @ norm.bias.detach()
                layer.bias = nn.Parameter(shift if layer.bias is None else layer.bias.detach() + shift)
            layer.weight = nn.Parameter(layer.weight.detach() * norm.weight.detach())
        with torch.no_grad():
            norm.weight.fill_(1.0)
            if norm.bias is not None:
                norm.bias.zero_()
        norm.requires_grad_(False)


def _readers(node: Node) -> list[Node]:
    """What computes with the result of `node`, behind operators that only pass it on."""
    found: list[Node] = []
    for user in node.users:
        if user.target not in _SEEN_THROUGH:
            found.append(user)
        elif user.target != _ATEN._assert_tensor_metadata.default:
            found += _readers(user)
    return found
