"""Puts the weights of a float program on the grid of a post-training precision, once for every format."""

from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from edgedistill.quantize.build import constant
from edgedistill.quantize.fold import fold_float, fold_layernorm
from edgedistill.quantize.graph import CONVOLUTIONS, operators, replace, tensor_of

BLOCK = 32
"""Input channels that share a scale at 4 bits."""
ENTRIES = 16
"""Values of a palette."""
ROWS = 1024
"""Rows above which an embedding table gets 8 bits. A smaller one is a small part of a file."""
_QUANTILES = 65536


@dataclass(frozen=True)
class Steps:
    """A weight as integers with their scales.

    steps: int8, of the weight's shape. scale: float32, broadcast against `blocks` of them.
    block: input channels that share a scale; None if all of an output channel share one.
    """

    steps: Tensor
    scale: Tensor
    block: int | None = None

    @property
    def values(self) -> Tensor:
        """The weight that the integers stand for, float32."""
        return _blocks(self.steps, self.block).mul(self.scale).reshape(self.steps.shape)


def _blocks(weight: Tensor, block: int | None) -> Tensor:
    """`weight` [out, in, ...] as [out, blocks, block, ...], or unchanged."""
    return weight if block is None else weight.reshape(len(weight), -1, block, *weight.shape[2:])


def int8_channels(weight: Tensor) -> Steps:
    """Symmetric int8 by output channel: scale = max |w| / 127 (Krishnamoorthi 2018, arXiv 1806.08342, section 3.1).

    weight: [out, ...]. If the values lie on a grid already, the result has its integers.
    """
    return _symmetric(weight, 127, None)


def int4_blocks(weight: Tensor, block: int = BLOCK) -> Steps:
    """Symmetric int4 by output channel and block of input channels: scale = max |w| / 7, rounded to bfloat16.

    weight: [out, in, ...] with a whole number of blocks. XNNPACK stores the scales of blocks in bfloat16. Rounding them here
    makes them equal everywhere, and each product with a step is exact in float16, in which Core ML computes. The positions of a kernel
    share the scale.
    """
    return _symmetric(weight, 7, block)


def _symmetric(weight: Tensor, largest: int, block: int | None) -> Steps:
    parts = _blocks(weight.detach().float(), block)
    kept = 1 if block is None else 2
    scale = parts.abs().amax(dim=tuple(range(kept, parts.ndim)), keepdim=True) / largest
    if block is not None:
        scale = scale.bfloat16().float()
    # For a channel of zeros any scale is correct.
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    steps = torch.round(parts / scale).clamp(-largest, largest)
    return Steps(steps.to(torch.int8).reshape(weight.shape), scale, block)


def palette(weight: Tensor) -> Tensor:
    """`weight` with each value replaced by the nearest of 16 values from k-means (Han et al. 2016, arXiv 1510.00149, section 3).

    k-means runs on at most 65536 quantiles, which takes a second; all values of a large layer would take a minute.
    """
    import numpy as np
    from sklearn.cluster import KMeans

    values = weight.detach().double().numpy()
    if len(np.unique(values)) <= ENTRIES:
        return weight.detach().clone()
    ordered = np.sort(values, axis=None)
    few = ordered[np.linspace(0, len(ordered) - 1, min(len(ordered), _QUANTILES)).round().astype(int)]
    means = KMeans(ENTRIES, n_init=10, random_state=0).fit(few[:, None]).cluster_centers_
    # A float16 program stores the table in float16.
    table = np.unique(means.astype(np.float16).astype(np.float32))
    nearest = np.searchsorted((table[1:] + table[:-1]) / 2, values)
    return torch.from_numpy(table[nearest])


def weighted(graph: GraphModule, precision: str) -> list[Node]:
    """The operators whose weights `precision` stores in fewer bits: linear layers and, except for dynamic precisions, convolutions."""
    linear = torch.ops.aten.linear.default
    return operators(graph, (linear,) if precision.endswith("-dynamic") else (*CONVOLUTIONS, linear))


def lookups(graph: GraphModule) -> list[Node]:
    """The embeddings whose table every precision of a grid stores as int8 by row: those of a stored table with more than `ROWS` rows."""
    found = operators(graph, (torch.ops.aten.embedding.default,))
    return [node for node in found if node.args[0].op == "get_attr" and len(tensor_of(graph, node.args[0])) > ROWS]  # type: ignore[union-attr]


def in_blocks(shape: tuple[int, ...]) -> bool:
    """Whether a weight [out, in, ...] has a whole number of blocks. Others, such as depthwise convolutions, get int8 by channel."""
    return shape[1] % BLOCK == 0


def put_on_grid(graph: GraphModule, precision: str) -> dict[str, int]:
    """Fold norms and put each weight and large embedding table on the grid of `precision`, in place; returns their number by scheme.

    graph: an exported float program in evaluation form. A layer and an embedding that share a table are untied: each gets its own grid from
    the trained values, and a small table stays in floating point.
    """
    fold_float(graph)
    fold_layernorm(graph)
    counts: Counter[str] = Counter()
    if tables := _put_tables_on_grid(graph):
        counts["int8"] = tables
    _untie(graph, weighted(graph, precision))
    for name in dict.fromkeys(str(node.args[1]) for node in weighted(graph, precision)):
        node = next(n for n in graph.graph.nodes if n.name == name)
        weight = tensor_of(graph, node)
        scheme = scheme_of(precision, tuple(weight.shape))
        counts[scheme] += 1
        replace(graph, node, on_grid(weight, scheme))
    graph.recompile()
    _drop_unused(graph)
    return dict(counts)


def _put_tables_on_grid(graph: GraphModule) -> int:
    found = lookups(graph)
    tables = dict.fromkeys(node.args[0] for node in found)
    for place, table in enumerate(tables):
        readers = [node for node in found if node.args[0] is table]
        values = nn.Parameter(on_grid(tensor_of(graph, table), "int8"), requires_grad=False)
        with graph.graph.inserting_before(readers[0]):
            # A copy of its own, since a linear layer that reads the same table may have another grid.
            own = constant(graph, readers[0], f"table_{place}", values)
        for reader in readers:
            reader.args = (own, *reader.args[1:])
    graph.graph.eliminate_dead_code()
    return len(tables)


def _untie(graph: GraphModule, layers: list[Node]) -> None:
    """Give each of `layers` a weight of its own where something other than such a layer reads it too."""
    for place, node in enumerate(layers):
        weight = node.args[1]
        assert isinstance(weight, Node)
        if all(reader in layers and reader.args[1] is weight for reader in weight.users):
            continue
        with graph.graph.inserting_before(node):
            own = constant(graph, weight, f"untied_{place}", nn.Parameter(tensor_of(graph, weight).clone(), requires_grad=False))
        node.args = (node.args[0], own, *node.args[2:])


def _drop_unused(graph: GraphModule) -> None:
    """Delete the parameters and buffers that are unused after folding, since they would be saved with the program."""
    used = {str(node.target) for node in graph.graph.nodes if node.op == "get_attr"}
    for name, _ in [*graph.named_parameters(), *graph.named_buffers()]:
        if name not in used:
            owner, _, attribute = name.rpartition(".")
            delattr(graph.get_submodule(owner), attribute)


def scheme_of(precision: str, shape: tuple[int, ...]) -> str:
    """How `precision` stores a weight of `shape`: palette4, int4 in blocks, or int8 by channel."""
    if precision == "palette4":
        return precision
    return "int4" if precision.startswith("int4-") and in_blocks(shape) else "int8"


def on_grid(weight: Tensor, scheme: str) -> Tensor:
    """The nearest weight that `scheme` can store."""
    return palette(weight) if scheme == "palette4" else (int4_blocks if scheme == "int4" else int8_channels)(weight).values
