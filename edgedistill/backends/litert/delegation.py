"""Which nodes of a .tflite the XNNPACK delegate takes, asked of the interpreter that has applied it."""

import re
from dataclasses import dataclass
from pathlib import Path

from edgedistill.backends.delegation.nodes import Node, Reading, layer_of
from edgedistill.backends.inspect.graph import layers_of
from edgedistill.backends.litert import inspect as litert

INT16 = "LiteRT's XNNPACK takes no 16-bit activations; LiteRT's own kernels compute them in integers"


@dataclass(frozen=True)
class _Operation:
    """A node of the interpreter: its number, whether it stands for a delegate, and the tensors that it takes and gives."""

    index: int
    is_delegate: bool
    inputs: list[int]
    outputs: list[int]


def read(path: Path) -> Reading:
    """Open the file with LiteRT. Raises what the interpreter raises."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    operations = [
        _Operation(node["index"], node["op_name"] == "DELEGATE", [*map(int, node["inputs"])], [*map(int, node["outputs"])])
        for node in interpreter._get_ops_details()
    ]
    # Those that a delegate replaced are still listed: what runs is what the outputs are reached from, through the delegate first.
    made_by: dict[int, _Operation] = {}
    for operation in sorted(operations, key=lambda operation: operation.is_delegate):
        made_by |= dict.fromkeys(operation.outputs, operation)
    run: set[int] = set()
    waiting = [int(tensor["index"]) for tensor in interpreter.get_output_details()]
    while waiting:
        made = made_by.get(waiting.pop())
        if made is not None and made.index not in run:
            run.add(made.index)
            waiting += made.inputs
    _, graph, _ = litert.load(path)
    # The interpreter numbers the operators of the first subgraph as the file does.
    numbers = {id(node): number for number, node in enumerate(graph.nodes)}
    nodes = []
    for node, layer in layers_of(graph, litert.macs):
        delegate = None if numbers[id(node)] in run else "XNNPACK"
        nodes.append(Node(delegate or "builtin", layer_of(layer, delegate, name=module_name(layer.name))))
    partitions = sum(operation.is_delegate and operation.index in run for operation in operations)
    return Reading(partitions, nodes, why=INT16 if any(tensor.type == "int16" for tensor in graph.tensors.values()) else None)


def module_name(tensor: str) -> str:
    """The module's name in `tensor`, as litert_torch writes it: `a.b.ResNet_model/torch.nn.Conv2d_conv1;2` is model.conv1.

    The packages may be missing: `.Conv2d_conv1`. Of tensors that a fusion joined with `;;` the last one is where it began.
    """
    part = tensor.rpartition(";;")[2].partition(";")[0]
    names = [match[1] for piece in part.split("/") if (match := re.fullmatch(r"(?:\w*\.)+[A-Za-z0-9]+_(\w+)", piece))]
    return ".".join(names) or tensor
