"""Attention over a cache by ExecuTorch's own kernels, which write and read it in place (executorch 1.5.1)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from edgedistill.quantize.build import constant, replace
from edgedistill.quantize.graph import operators, tensor_of

_ATEN = torch.ops.aten
_COPY = _ATEN.index_copy_.default


def attend_by_kernels(graph: GraphModule) -> int:
    """Let `llama.update_cache` keep keys and values, and `llama.custom_sdpa` answer each attention over them, in place; returns how many.

    The program keeps them in buffers [1, K, length, D], by `index_copy_` at positions that follow each other, and the mask of an attention
    hides what stands behind a token: this is what the kernels compute from the first position alone. They want [1, length, K, D].
    Other operators would read and write all positions for each token.
    """
    found = [node for node in operators(graph, (_ATEN.scaled_dot_product_attention.default,)) if _reads_state(node)]
    if not found:
        return 0
    # Registers the operators: they have no meaning before.
    import executorch.extension.llm.custom_ops.custom_ops  # noqa: F401

    copies = [copy for node in found for copy in node.args[1:3]]
    positions: Any = copies[0].args[2]  # type: ignore[union-attr]
    with graph.graph.inserting_before(positions.next):
        start = graph.graph.call_function(_first, (positions,))
    for node in found:
        query, keys, values = node.args[:3]
        kept = [_buffer(graph, copy) for copy in (keys, values)]
        new = [copy.args[3] for copy in (keys, values)]  # type: ignore[union-attr]
        with graph.graph.inserting_before(node):
            made = graph.graph.call_function(_attend, (query, *new, *kept, start, node.kwargs.get("scale")))
        replace(graph, node, made)
    for copy in copies:
        source = copy.args[0]  # type: ignore[union-attr]
        graph.graph.erase_node(copy)  # type: ignore[arg-type]
        _forget(graph, source)
    graph.graph.eliminate_dead_code()
    return len(found)


def _reads_state(node: Node) -> bool:
    return all(isinstance(source, Node) and source.target == _COPY and len(source.users) == 1 for source in node.args[1:3])


def _buffer(graph: GraphModule, copy: Any) -> Node:
    """A read of a new buffer, in the kernels' order, in the place of that which `copy` writes into."""
    old: Node = copy.args[0]
    with graph.graph.inserting_before(old):
        return constant(graph, old, str(old.target).rpartition(".")[2], tensor_of(graph, old).transpose(1, 2).contiguous())


def _forget(graph: GraphModule, buffer: Any) -> None:
    graph.graph.erase_node(buffer)
    owner, _, name = str(buffer.target).rpartition(".")
    delattr(graph.get_submodule(owner), name)


def _first(positions: Tensor) -> int | float:
    # No int(): while the program is traced it is a symbol.
    return positions[0].item()


def _attend(query: Tensor, key: Tensor, value: Tensor, keys: Tensor, values: Tensor, start: int, scale: float | None) -> Tensor:
    """Keep `key` and `value` [1, K, T, D] from position `start` on in `keys` and `values`, and answer `query` [1, K, H / K * T, D]."""
    llama = torch.ops.llama
    llama.update_cache(key.transpose(1, 2), keys, start)
    llama.update_cache(value.transpose(1, 2), values, start)
    heads = query.reshape(1, -1, key.shape[2], query.shape[3]).transpose(1, 2)
    seen = llama.custom_sdpa(heads, keys, values, start, None, 0.0, True, scale)
    return seen.transpose(1, 2).reshape(query.shape)
