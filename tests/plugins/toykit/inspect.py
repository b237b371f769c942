"""Reads .toy files for `edgedistill inspect`."""

import math
from pathlib import Path
from typing import Any

from edgedistill.backends.inspect.graph import Graph, Node, Tensor, describe, port
from toykit import runtime


def read(path: Path) -> dict[str, Any]:
    """What the file holds. Raises ValueError for another file."""
    program, tensors = runtime.read(str(path))
    graph = Graph()
    for name, array in tensors.items():
        graph.tensors[name] = Tensor(array.dtype.name, list(array.shape), array.nbytes)
    for one in (*program["inputs"], *program["outputs"]):
        graph.tensors[one["value"]] = Tensor(one["type"], one["shape"])
    for step in program["steps"]:
        graph.tensors.setdefault(step["name"], Tensor(None, None))
        inputs = [argument["of"] for argument in step["args"] if isinstance(argument, dict)]
        graph.nodes.append(Node(step["operator"], step["name"], inputs, [step["name"]]))
    return {
        "version": {"toy": 1},
        "producer": "toykit 0.1.0",
        "inputs": [port(one["name"], graph.tensors[one["value"]]) for one in program["inputs"]],
        "outputs": [port(one["name"], graph.tensors[one["value"]]) for one in program["outputs"]],
        **describe(graph, _macs),
        "metadata": program["metadata"],
    }


def _macs(node: Node, graph: Graph) -> int:
    """Multiply-accumulates of a linear layer of one row; other operators count as none here."""
    return math.prod(graph.shape(node.inputs[1])) if node.operator == "aten.linear.default" else 0
