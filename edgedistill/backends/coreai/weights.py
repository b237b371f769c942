"""Core AI: weights as integers with scales, or as a table and indices, which the system unpacks."""

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from edgedistill.backends.coreai.quantized import stored
from edgedistill.quantize.graph import tensor_of
from edgedistill.quantize.grid import ENTRIES, int4_blocks, int8_channels, lookups, scheme_of, weighted
from edgedistill.quantize.pooling import is_pooling


def pack(graph: GraphModule, precision: str) -> int:
    """Store each weight and table, which lies on the grid of `precision`, as its integers or indices, in place; returns how many.

    The operators are those that coreai-opt writes. Its own passes would choose other scales (max |w| + 5e-7) and other tables.
    """
    schemes = {table: "int8" for table in (node.args[0] for node in lookups(graph))}
    for node in (node.args[1] for node in weighted(graph, precision)):
        if not is_pooling(node):
            schemes[node] = scheme_of(precision, tuple(tensor_of(graph, node).shape))
    for place, (node, scheme) in enumerate(schemes.items()):
        assert isinstance(node, Node)
        with graph.graph.inserting_before(node):
            unpacked = graph.graph.call_function(*_packed(graph, tensor_of(graph, node), scheme, place))
        node.replace_all_uses_with(unpacked)
    graph.graph.eliminate_dead_code()
    return len(schemes)


def _packed(graph: GraphModule, weight: Tensor, scheme: str, place: int):  # type: ignore[no-untyped-def]
    """The operator that unpacks a weight, and its arguments."""
    own = torch.ops.coreai
    if scheme == "palette4":
        # The converter knows both by these names, and stores indices in the 4 bits that 16 values need.
        table, indices = _table(weight)
        parts = [stored(graph, f"{name}_{place}", part) for name, part in (("indices", indices), ("lut", table))]
        return own.lut_to_dense.default, (*parts, 0)
    quantized = (int4_blocks if scheme == "int4" else int8_channels)(weight)
    scale = quantized.scale.reshape(len(weight), -1, *[1] * (weight.ndim - 2))
    parts = [stored(graph, f"{name}_{place}", part) for name, part in (("steps", quantized.steps), ("scale", scale))]
    return own.constexpr_blockwise_shift_scale.default, (*parts, None, None, getattr(torch, scheme))


def _table(weight: Tensor) -> tuple[Tensor, Tensor]:
    """The values of `weight` with zeros up to 16, as [1, ..., 16, 1], and the index of each, uint8."""
    values, indices = weight.unique(return_inverse=True)
    if len(values) > ENTRIES:
        found = f"found a weight {list(weight.shape)} with {len(values)} values"
        raise ValueError(f"{found}, expected at most {ENTRIES}: it is not on the palette")
    table = torch.zeros(ENTRIES)
    table[: len(values)] = values
    return table.reshape(*[1] * weight.ndim, ENTRIES, 1), indices.to(torch.uint8)
