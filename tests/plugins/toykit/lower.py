"""Writes an exported program as a .toy file."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.export import ExportedProgram
from torch.fx import Node

from edgedistill.records import ArtifactSpec
from edgedistill.signature import Signature, TensorSpec


def lower(program: ExportedProgram, signature: Signature, path: Path, spec: ArtifactSpec, metadata: dict[str, str]) -> None:
    """Write the operators of `program` as JSON and its tensors as arrays, both in one .npz."""
    graph = program.graph_signature
    stored = {**graph.inputs_to_parameters, **graph.inputs_to_buffers, **graph.inputs_to_lifted_tensor_constants}
    tensors = {**program.state_dict, **program.constants}
    arrays, inputs, steps, outputs = {}, [], [], []
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in stored:
            arrays[f"tensor:{node.name}"] = tensors[stored[node.name]].detach().numpy()
        elif node.op == "placeholder":
            inputs.append(_port(signature.inputs[len(inputs)], node))
        elif node.op == "call_function":
            arguments = {"args": _plain([*node.args]), "kwargs": _plain(dict(node.kwargs))}
            steps.append({"name": node.name, "operator": str(node.target), **arguments})
        elif node.op == "output":
            outputs = [_port(spec, value) for spec, value in zip(signature.outputs, node.args[0], strict=True)]
    text = json.dumps({"inputs": inputs, "steps": steps, "outputs": outputs, "metadata": metadata, "precision": spec.precision})
    with open(path, "wb") as file:
        np.savez(file, program=np.frombuffer(text.encode(), np.uint8), **arrays)


def _port(spec: TensorSpec, node: Node) -> dict[str, Any]:
    """An input or output by the signature's name, and the value of the program that it is."""
    return {"name": spec.name, "value": node.name, "type": spec.dtype, "shape": list(spec.shape)}


def _plain(value: Any) -> Any:
    """An argument as JSON: a value of the program is {"of": name}."""
    if isinstance(value, Node):
        return {"of": value.name}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return str(value) if isinstance(value, (torch.dtype, torch.device, torch.layout, torch.memory_format)) else value
