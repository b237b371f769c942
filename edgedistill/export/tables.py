"""Embedding tables as int8 with a scale for each row, of which only the rows that are read become floating point."""

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from edgedistill.quantize.build import constant
from edgedistill.quantize.graph import tensor_of
from edgedistill.quantize.grid import int8_channels, lookups


def gather_steps(graph: GraphModule) -> int:
    """Read each embedding table that lies on the grid as rows of its integers, times their scales, in place; returns how many reads.

    A table that is dequantized before it is read would be so as a whole for each sample: 1.6 ms for 30522 x 384 in ONNX Runtime, which
    takes 4 us for 64 rows.
    """
    found = lookups(graph)
    stored: dict[object, list[Node]] = {}
    for node in found:
        table, indices = node.args[:2]
        if table not in stored:
            quantized = int8_channels(tensor_of(graph, table))
            parts = {"steps": quantized.steps, "scale": quantized.scale}
            with graph.graph.inserting_before(node):
                stored[table] = [constant(graph, node, f"table_{len(stored)}_{name}", part) for name, part in parts.items()]
        node.target, node.args, node.kwargs = _rows, (*stored[table], indices), {}
    graph.graph.eliminate_dead_code()
    return len(found)


def _rows(steps: Tensor, scale: Tensor, indices: Tensor) -> Tensor:
    return torch.embedding(steps, indices).to(scale.dtype) * torch.embedding(scale, indices)
