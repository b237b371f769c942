"""LiteRT: what its converter leaves to do for programs with 16-bit activations."""

from typing import Any

import numpy as np
from torch.export import ExportedProgram

from edgedistill.errors import UserError


def check(program: ExportedProgram) -> None:
    """UserError where `program` has an operator that litert_torch 0.10 refuses with int16."""
    count = sum("aten.cat." in str(node.target) for node in program.graph.nodes)
    if count:
        raise UserError(f"LiteRT's converter takes no concatenation in 16 bits, found {count}; take int16x8 in onnx, or int8 in litert")


def widen_biases(data: bytes) -> bytes:
    """The model `data` with the int32 biases of its 16-bit layers as int64, the same numbers.

    The converter writes int32; the kernels for int16 sum in 64 bits and take nothing else.
    """
    from ai_edge_litert import schema_py_generated as schema

    from edgedistill.backends.litert.io import packed

    model = schema.ModelT.InitFromPackedBuf(data)
    graph, types = model.subgraphs[0], schema.TensorType
    for operator in graph.operators:
        if len(operator.inputs) < 3 or graph.tensors[operator.inputs[0]].type != types.INT16 or operator.inputs[2] < 0:
            continue
        bias = graph.tensors[operator.inputs[2]]
        if (
            bias.type == types.INT32
            and model.buffers[bias.buffer].data is not None
            and graph.tensors[operator.inputs[1]].type == types.INT8
        ):
            bias.type, bias.buffer = types.INT64, _added(schema, model, model.buffers[bias.buffer].data)
    return packed(model, len(data))


def _added(schema: Any, model: Any, data: Any) -> int:
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(bytes(data), np.int32).astype(np.int64).view(np.uint8)
    model.buffers.append(buffer)
    return len(model.buffers) - 1
