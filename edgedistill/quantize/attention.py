"""Attention in which heads share keys and values."""

import math

import torch
from torch.fx import GraphModule, Node

from edgedistill.quantize.build import call, replace
from edgedistill.quantize.graph import operators

_ATEN = torch.ops.aten
_ATTENTION = _ATEN.scaled_dot_product_attention.default
_OPTIONS = 3
"""Arguments of attention behind query, key and value; with others, such as a mask, it stays."""


def share_keys(graph: GraphModule) -> int:
    """Let the heads that share keys and values stand one behind the other, as further queries of one head, in place; returns how often.

    Multi-query attention (Shazeer 2019, arXiv 1911.02150): queries [B, H, N, D] with keys [B, 1, M, D]. Each query is answered alone, so
    that H x N queries of one head get the same answers. LiteRT's converter pairs the heads with the wrong keys otherwise.
    """
    count = 0
    for node in operators(graph, (_ATTENTION,)):
        query, keys, values = node.args[:3]
        shapes = [list(each.meta["val"].shape) for each in (query, keys, values)]  # type: ignore[union-attr]
        if len(node.args) > _OPTIONS or node.kwargs.get("attn_mask") is not None or node.kwargs.get("is_causal") or len(shapes[0]) != 4:
            continue
        heads = shapes[0][1]
        if heads == 1 or any(shape[1] != 1 or len(shape) != 4 for shape in shapes[1:]):
            continue
        options = {name: value for name, value in node.kwargs.items() if name == "scale"}
        with graph.graph.inserting_before(node):
            rows = _reshaped(graph, node, query, [1, math.prod(shapes[0][1:3]), shapes[0][3]])  # type: ignore[arg-type]
            answers = call(graph, node, _ATTENTION, rows, keys, values)
            answers.kwargs = options
            made = _reshaped(graph, node, answers, [heads, shapes[0][2], shapes[2][3]])
        replace(graph, node, made)
        count += 1
    graph.recompile()
    return count


def _reshaped(graph: GraphModule, like: Node, values: Node, sizes: list[int]) -> Node:
    """`values` [B, ...] as [B, *sizes], in batches of any size."""
    return call(graph, like, _ATEN.reshape.default, values, [-1, *sizes])
