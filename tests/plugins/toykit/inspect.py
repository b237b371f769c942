"""Reads .toy files for `edgedistill inspect`."""

import math
from pathlib import Path

from edgedistill.backends.inspect.graph import Graph, Node, Tensor, describe, port
from edgedistill.records.inspection import Content
from toykit import runtime


def read(path: Path) -> Content:
    """The content of the file. Raises ValueError for another one."""
    program, tensors = runtime.read(str(path))
    graph = Graph()
    for name, array in tensors.items():
        graph.tensors[name] = Tensor(array.dtype.name, list(array.shape), array.nbytes)
    for side in ("inputs", "outputs"):
        for own in program[side]:
            graph.tensors[own["value"]] = Tensor(own["type"], own["shape"])
    for step in program["steps"]:
        graph.tensors.setdefault(step["name"], Tensor(None, None))
        inputs = [argument["of"] for argument in step["args"] if isinstance(argument, dict)]
        graph.nodes.append(Node(step["operator"], step["name"], inputs, [step["name"]]))
    inputs, outputs = ([port(own["name"], graph.tensors[own["value"]]) for own in program[side]] for side in ("inputs", "outputs"))
    return describe(graph, _macs, version={"toy": 1}, producer="toykit 0.1.0", inputs=inputs, outputs=outputs, metadata=program["metadata"])


def _macs(node: Node, graph: Graph) -> int:
    """Multiply-accumulates of a linear layer of one row; other operators count as none here."""
    return math.prod(graph.shape(node.inputs[1])) if node.operator == "aten.linear.default" else 0
