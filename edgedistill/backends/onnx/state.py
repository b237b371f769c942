"""The cache of a language model in ONNX: further inputs and outputs, which one operator of ONNX Runtime reads and writes."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node

from edgedistill.backends.base import NEXT
from edgedistill.export.programs import exported_again
from edgedistill.export.state import as_inputs, module_of
from edgedistill.quantize.build import replace
from edgedistill.quantize.graph import operators, outputs_of
from edgedistill.signature import Signature

_ATEN = torch.ops.aten
_COPY = _ATEN.index_copy_.default


def passed(program: ExportedProgram, signature: Signature) -> tuple[ExportedProgram, Signature]:
    """`program` with each tensor of its state as an input, and what becomes of it as an output; and the signature of that.

    The program keeps keys and values by `index_copy_` at positions that follow each other, and the mask of each attention hides what stands
    behind a token: `com.microsoft.GroupQueryAttention` computes this from the last position alone. It works in place where a caller binds
    an input and its output to the same memory. Operators of ONNX itself would copy each tensor several times for each token.

    A program without state stays as it is. Raises ValueError where something other than such an attention reads the state.
    """
    if not signature.state:
        return program, signature
    graph = program.module(check_guards=False)
    assert isinstance(graph, GraphModule)
    found = [node for node in operators(graph, (_ATEN.scaled_dot_product_attention.default,)) if _reads_state(node)]
    if 2 * len(found) != len(signature.state):
        raise ValueError(f"found {len(found)} attentions that read the state, expected {len(signature.state) // 2}")
    inputs = as_inputs(graph, [spec.name for spec in signature.state])
    after: dict[Node, Node] = {}
    for node in found:
        after |= _attention(graph, node)
    whole = module_of(graph, [*outputs_of(graph), *(after[kept] for kept in inputs)])
    zeros = (torch.zeros(spec.fixed) for spec in signature.state)
    outputs = [*signature.outputs, *(spec.model_copy(update={"name": f"{spec.name}{NEXT}"}) for spec in signature.state)]
    return exported_again(whole, program, *zeros), Signature.of([*signature.inputs, *signature.state], outputs)


def _reads_state(node: Node) -> bool:
    return all(isinstance(source, Node) and source.target == _COPY and len(source.users) == 1 for source in node.args[1:3])


def _attention(graph: GraphModule, node: Node) -> dict[Node, Node]:
    """Compute the attention `node` by one operator; returns what becomes of its keys and values."""
    query, *given = node.args[:3]
    copies = [copy for copy in given if isinstance(copy, Node)]
    parts: list[Any] = [copy.args for copy in copies]
    (keys, _, positions, key), (values, _, _, value) = parts
    with graph.graph.inserting_before(node):
        whole = graph.graph.call_function(_attend, (query, key, value, keys, values, positions, node.kwargs.get("scale")))
        seen, *made = (graph.graph.call_function(operator.getitem, (whole, place)) for place in range(3))
    replace(graph, node, seen)
    for copy in copies:
        graph.graph.erase_node(copy)
    return dict(zip((keys, values), made, strict=True))


def _attend(
    query: Tensor, key: Tensor, value: Tensor, keys: Tensor, values: Tensor, positions: Tensor, scale: float | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Answers to `query` [1, K, H / K * T, D], and `keys` and `values` with `key` and `value` [1, K, T, D] at `positions` [T]."""
    groups, tokens, width = key.shape[1:]
    heads = query.reshape(1, -1, tokens, width)
    last = positions[-1:].to(torch.int32)
    options: dict[str, Any] = {"num_heads": heads.shape[1], "kv_num_heads": groups} | ({} if scale is None else {"scale": scale})
    seen, keys, values = torch.onnx.ops.symbolic_multi_out(
        "com.microsoft::GroupQueryAttention",
        [*(part.transpose(1, 2).flatten(2) for part in (heads, key, value)), keys, values, last, (last + 1).reshape(())],
        options, dtypes=[query.dtype] * 3, shapes=[[1, tokens, heads.shape[1] * width], keys.shape, values.shape], version=1,
    )  # fmt: skip
    return seen.reshape(1, tokens, -1, width).transpose(1, 2).reshape(query.shape), keys, values
