"""Branches that a network trains side by side and adds, as one convolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from edgedistill.quantize.build import call, constant, replace
from edgedistill.quantize.graph import operators, tensor_of
from edgedistill.quantize.norms import affine

_ATEN = torch.ops.aten
_SUMS = (_ATEN.add.Tensor, _ATEN.add_.Tensor)


@dataclass(frozen=True)
class _Branch:
    """A linear branch: the tensor that it reads, its kernel [out, in / groups, k, k] and bias [out], its stride and groups.

    kernel: None for a batch norm alone, which is a factor for each channel. normed: whether it ends with a batch norm.
    """

    source: Node
    kernel: Tensor | None
    factor: Tensor
    bias: Tensor
    stride: list[int]
    groups: int | None
    normed: bool


def merge_branches(graph: GraphModule) -> int:
    """Replace each sum of convolutions and batch norms of one tensor by one convolution, in place; returns how many sums.

    Such branches help training and are one convolution afterwards (RepVGG, arXiv 2101.03697, section 3.3; MobileOne, arXiv 2206.04040).
    Left apart, each of them is rounded to int8 before the sum. Batch norms have to be in evaluation mode. A sum with a plain tensor is a
    residual connection and stays.
    """
    count = 0
    for node in operators(graph, _SUMS):
        if len(node.users) == 1 and next(iter(node.users)).target in _SUMS and _leaves(next(iter(node.users))):
            # Part of a larger sum, which is looked at as a whole.
            continue
        leaves = _leaves(node)
        branches = [_branch(graph, leaf) for leaf in leaves]
        merged = _merged([branch for branch in branches if branch is not None]) if leaves and None not in branches else None
        if merged is None:
            continue
        source, kernel, bias, stride, groups = merged
        with graph.graph.inserting_before(node):
            weight = constant(graph, node, f"merged_{count}_weight", nn.Parameter(kernel))
            shift = constant(graph, node, f"merged_{count}_bias", nn.Parameter(bias))
            padding = [kernel.shape[2] // 2] * 2
            made = call(graph, node, _ATEN.conv2d.default, source, weight, shift, stride, padding, [1, 1], groups)
        summed = node.all_input_nodes
        replace(graph, node, made)
        for part in summed:
            _erase(graph, part)
        count += 1
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return count


def _erase(graph: GraphModule, node: Node) -> None:
    """Erase what nothing reads any more. Sums in place count as effects, so that elimination of dead code keeps them and what they add."""
    if node.op == "placeholder" or node.users:
        return
    read = node.all_input_nodes
    graph.graph.erase_node(node)
    for source in read:
        _erase(graph, source)


def _leaves(node: Node) -> list[Node]:
    """What a tree of sums adds; empty unless it adds tensors only, once each."""
    found: list[Node] = []
    for argument in node.args[:2]:
        if not isinstance(argument, Node) or len(node.args) > 2 or node.kwargs:
            return []
        inner = argument.target in _SUMS and len(argument.users) == 1
        parts = _leaves(argument) if inner else [argument]
        if not parts:
            return []
        found += parts
    return found


def _branch(graph: GraphModule, leaf: Node) -> _Branch | None:
    if len(leaf.users) > 1:
        return None
    factor, shift, node = torch.ones(()), torch.zeros(()), leaf
    if normed := leaf.target == _ATEN.batch_norm.default:
        if leaf.args[5]:
            return None
        factor, shift = affine(graph, leaf)
        node = leaf.args[0]  # type: ignore[assignment]
        if node.target != _ATEN.conv2d.default or len(node.users) > 1:
            return _Branch(node, None, factor, shift, [1, 1], None, normed) if node.meta["val"].ndim == 4 else None
    if node.target != _ATEN.conv2d.default:
        return None
    source, weight, bias, stride, padding, dilation, groups = _arguments(node)
    if not isinstance(weight, Node) or weight.op != "get_attr" or (bias is not None and bias.op != "get_attr"):
        return None
    kernel = tensor_of(graph, weight)
    size = kernel.shape[2]
    if kernel.shape[3] != size or size % 2 == 0 or padding != [size // 2] * 2 or dilation != [1, 1]:
        return None
    before = torch.zeros(len(kernel)) if bias is None else tensor_of(graph, bias)
    factor = factor.expand(len(kernel))
    return _Branch(source, kernel, factor, before * factor + shift, stride, groups, normed)


def _arguments(node: Node) -> tuple[Any, ...]:
    given = [*node.args, *[None, [1, 1], [0, 0], [1, 1], 1][len(node.args) - 2 :]]
    pairs = [list(value) * 2 if len(value) == 1 else list(value) for value in given[3:6]]  # type: ignore[arg-type]
    return (*given[:3], *pairs, given[6])


def _merged(branches: list[_Branch]) -> tuple[Node, Tensor, Tensor, list[int], int] | None:
    """The convolution that adds up `branches`; None where they are not branches of one tensor that end alike."""
    first = next((branch for branch in branches if branch.kernel is not None), None)
    if first is None or not all(branch.normed for branch in branches):
        return None
    assert first.kernel is not None
    assert first.groups is not None
    size = max(branch.kernel.shape[2] for branch in branches if branch.kernel is not None)
    total, bias = torch.zeros(*first.kernel.shape[:2], size, size), torch.zeros(len(first.kernel))
    for branch in branches:
        alike = branch.source is first.source and branch.stride == first.stride and branch.groups in (first.groups, None)
        kernel = _identity(first.kernel, len(branch.factor)) if branch.kernel is None else branch.kernel
        if not alike or kernel is None or kernel.shape[:2] != first.kernel.shape[:2]:
            return None
        edge = (size - kernel.shape[2]) // 2
        total += nn.functional.pad(kernel * branch.factor.reshape(-1, 1, 1, 1), [edge] * 4)
        bias += branch.bias
    return first.source, total, bias, first.stride, first.groups


def _identity(like: Tensor, channels: int) -> Tensor | None:
    """The kernel 1 x 1 that passes on each channel, of the groups that `like` has; None where the numbers of channels differ."""
    out, each = like.shape[:2]
    if out != channels:
        return None
    kernel = torch.zeros(out, each, 1, 1)
    kernel[torch.arange(out), torch.arange(out) % each] = 1.0
    return kernel
