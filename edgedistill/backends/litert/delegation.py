"""Which nodes of a .tflite the XNNPACK delegate takes, asked of the interpreter that has applied it."""

import re
from pathlib import Path
from typing import Any

from edgedistill.backends.delegation.nodes import Node, Reading, costs
from edgedistill.backends.inspect.graph import layers_of
from edgedistill.backends.litert import inspect as litert

INT16 = "LiteRT's XNNPACK takes no 16-bit activations; LiteRT's own kernels compute them in integers"


def read(path: Path) -> Reading:
    """Open the file with LiteRT. Raises what the interpreter raises."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    nodes = interpreter._get_ops_details()
    # Nodes that a delegate replaced are still listed: what runs is what the outputs are reached from, through the delegate first.
    made_by: dict[int, dict[str, Any]] = {}
    for node in sorted(nodes, key=lambda n: n["op_name"] == "DELEGATE"):
        made_by |= {int(output): node for output in node["outputs"]}
    run: set[int] = set()
    waiting = [int(tensor["index"]) for tensor in interpreter.get_output_details()]
    while waiting:
        made = made_by.get(waiting.pop())
        if made is not None and made["index"] not in run:
            run.add(made["index"])
            waiting += [int(value) for value in made["inputs"]]
    _, graph, _ = litert.load(path)
    # The interpreter numbers the operators of the first subgraph as the file does.
    numbers = {id(node): number for number, node in enumerate(graph.nodes)}
    found = []
    for node, facts in layers_of(graph, litert.macs):
        outside = numbers[id(node)] in run
        by = "builtin" if outside else "XNNPACK"
        found.append(Node(node.operator, by, layer(facts["name"]), outside, costs(facts)))
    partitions = sum(node["op_name"] == "DELEGATE" and node["index"] in run for node in nodes)
    return Reading(partitions, found, why=INT16 if any(tensor.type == "int16" for tensor in graph.tensors.values()) else None)


def layer(tensor: str) -> str:
    """The module's name in `tensor`, as litert_torch writes it: `a.b.ResNet_model/torch.nn.Conv2d_conv1;2` is model.conv1.

    Of tensors that a fusion joined with `;;` the last one is where it began.
    """
    part = tensor.rpartition(";;")[2].partition(";")[0]
    names = [match[1] for piece in part.split("/") if (match := re.fullmatch(r"(?:\w+\.)+[A-Za-z0-9]+_(\w+)", piece))]
    return ".".join(names) or tensor
