"""Reading an exported graph: its operators and its tensors."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.fx import GraphModule, Node

_ATEN = torch.ops.aten
# They give on each value as it is.
PASSING = (
    _ATEN.flatten.using_ints, _ATEN.view.default, _ATEN.reshape.default, _ATEN.squeeze.dims, _ATEN.squeeze.dim, _ATEN.dropout.default,
)  # fmt: skip


def operators(graph: GraphModule, targets: Sequence[object]) -> list[Node]:
    """The call nodes of `graph` whose target is one of `targets`, in execution order."""
    return [node for node in graph.graph.nodes if node.op == "call_function" and node.target in targets]


def tensor_of(graph: GraphModule, argument: object) -> torch.Tensor:
    """The parameter, buffer or number that an argument of an operator stands for."""
    if not isinstance(argument, Node):
        return torch.tensor(argument)
    value: object = graph
    for part in str(argument.target).split("."):
        value = getattr(value, part)
    return value.detach()  # type: ignore[attr-defined]


def float32(value: Any) -> float:
    """`value` as the float32 that every file stores it as, so that the state says what runtimes compute with."""
    return float(torch.tensor(value, dtype=torch.float32))
