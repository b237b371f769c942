"""Reads an .onnx file; shapes that it does not give are inferred."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from edgedistill.backends.inspect.graph import Graph, Node, Tensor, Unknown, describe, known, port, stored_bytes
from edgedistill.records.inspection import Content

if TYPE_CHECKING:
    from onnx import TensorProto

DEFAULT_DOMAINS = ("", "ai.onnx")
_DOMAINS = (*DEFAULT_DOMAINS, "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc")
_CONVOLUTIONS = {"Conv": 1, "ConvInteger": 1, "FusedConv": 1, "QLinearConv": 3}
"""Operators, and which of their inputs has the weights."""
_GEMMS = {"Gemm", "QGemm", "FusedGemm"}
_MATMULS = {
    "MatMul", "MatMulInteger", "QLinearMatMul", "FusedMatMul", "TransposeMatMul", "DynamicQuantizeMatMul", "MatMulIntegerToFloat",
    "MatMulNBits",
}  # fmt: skip
_UNKNOWN = {
    "Attention", "MultiHeadAttention", "GroupQueryAttention", "QAttention", "SparseAttention", "PackedAttention", "LSTM", "GRU", "RNN",
    "DynamicQuantizeLSTM", "Einsum", "DeformConv", "NhwcConv", "NhwcFusedConv", "MoE", "QMoE", "If", "Loop", "Scan",
}  # fmt: skip
_SMALL = 1024


def read(path: Path) -> Content:
    """The content of the file. Weights in other files are counted and not opened."""
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    if not model.ir_version or not model.graph.node:
        raise ValueError("it has no version or no operators")
    graph = Graph()
    values: dict[str, TensorProto] = {}
    _constants(model.graph, graph, values)
    # Large constants are of no use to the inference of shapes, which copies the model.
    for initializer in model.graph.initializer:
        if math.prod(initializer.dims) > _SMALL:
            initializer.ClearField("raw_data")
    functions = {(f.domain, f.name) for f in model.functions}
    _add(onnx.shape_inference.infer_shapes(model, data_prop=True).graph, graph, functions)
    made = {name for node in graph.nodes for name in node.outputs} | {value.name for value in model.graph.input} | set(values)
    missing = [value.name for value in model.graph.output if value.name not in made]
    if missing:
        raise ValueError(f"nothing computes its output {missing[0]}")
    inputs = [value.name for value in model.graph.input if value.name not in values]
    metadata: dict[str, JsonValue] = {p.key: p.value for p in model.metadata_props}
    if model.doc_string:
        metadata["description"] = model.doc_string
    elsewhere = sorted({e.value for tensor in values.values() for e in tensor.external_data if e.key == "location"})
    if elsewhere:
        metadata["weights_in"] = [*elsewhere]
    return describe(
        graph,
        macs,
        version={"ir": model.ir_version, "opsets": {o.domain or "ai.onnx": o.version for o in model.opset_import}},
        producer=known(f"{model.producer_name} {model.producer_version}".strip(), "the file does not give it"),
        inputs=[port(name, graph.tensors[name], *_quantization(name, graph, values)) for name in inputs],
        outputs=[port(v.name, graph.tensors[v.name], *_quantization(v.name, graph, values)) for v in model.graph.output],
        metadata=metadata,
    )


def macs(node: Node, graph: Graph) -> int:
    """Multiply-accumulates of one operator; a convolution has weights [out, in / groups, ...], a transposed one [in, out / groups, ...]."""
    kind = node.operator.rpartition(".")[2]
    if kind in _UNKNOWN or node.custom:
        raise Unknown(f"there is no formula for {node.operator}")
    if kind in _CONVOLUTIONS:
        return graph.elements(node.outputs[0]) * math.prod(graph.shape(node.inputs[_CONVOLUTIONS[kind]])[1:])
    if kind == "ConvTranspose":
        return graph.elements(node.inputs[0]) * math.prod(graph.shape(node.inputs[1])[1:])
    if kind in _GEMMS:
        return graph.elements(node.outputs[0]) * graph.shape(node.inputs[0])[0 if node.attributes.get("transA") else 1]
    if kind in _MATMULS:
        return graph.elements(node.outputs[0]) * graph.shape(node.inputs[0])[-2 if node.attributes.get("transA") else -1]
    return 0


def operator_name(domain: str, kind: str) -> str:
    """The operator's name, with its domain unless that is the default."""
    return kind if domain in DEFAULT_DOMAINS else f"{domain}.{kind}"


def type_name(name: str) -> str:
    """The name of an element type as other formats write it."""
    return {"FLOAT": "float32", "DOUBLE": "float64"}.get(name, name.lower())


def is_custom(domain: str) -> bool:
    """Whether operators of this domain compute what only their runtime knows."""
    return domain not in _DOMAINS


def _subgraphs(graph: Any) -> list[Any]:
    return [g for node in graph.node for a in node.attribute for g in ([a.g] if a.HasField("g") else list(a.graphs))]


def _constants(proto: Any, graph: Graph, values: dict[str, TensorProto]) -> None:
    """Add what the file stores, of subgraphs too; `values` has the constants as the file has them."""
    for initializer in proto.initializer:
        _constant(initializer.name, initializer, graph, values)
    for sparse in proto.sparse_initializer:
        _constant(sparse.values.name, sparse.values, graph, values)
    for node in proto.node:
        for attribute in node.attribute if node.op_type == "Constant" else ():
            if attribute.name == "value":
                _constant(node.output[0], attribute.t, graph, values)
            elif node.output[0] not in graph.tensors:
                graph.tensors[node.output[0]] = Tensor(None, None, 0)
    for subgraph in _subgraphs(proto):
        _constants(subgraph, graph, values)


def _constant(name: str, tensor: Any, graph: Graph, values: dict[str, TensorProto]) -> None:
    from onnx import TensorProto

    dtype = type_name(TensorProto.DataType.Name(tensor.data_type))
    expected = sum(map(len, tensor.string_data)) if dtype == "string" else stored_bytes(dtype, math.prod(tensor.dims))
    if tensor.HasField("raw_data") and len(tensor.raw_data) != expected:
        raise ValueError(f"the constant {name} has {len(tensor.raw_data)} bytes, expected {expected}")
    graph.tensors[name] = Tensor(dtype, list(tensor.dims), expected)
    values[name] = tensor


def _add(proto: Any, graph: Graph, functions: set[tuple[str, str]]) -> None:
    """Add types, shapes and operators of a graph and its subgraphs."""
    import onnx

    for value in (*proto.input, *proto.value_info, *proto.output):
        tensor = value.type.tensor_type
        if value.name not in graph.tensors:
            dtype = type_name(onnx.TensorProto.DataType.Name(tensor.elem_type)) if tensor.elem_type else None
            shape = [_dimension(d) for d in tensor.shape.dim] if tensor.HasField("shape") else None
            graph.tensors[value.name] = Tensor(dtype, shape)
    for node in proto.node:
        attributes = {a.name: a.i for a in node.attribute if a.type == onnx.AttributeProto.INT}
        custom = is_custom(node.domain) or (node.domain, node.op_type) in functions
        # A constant is stored, and no operator at all.
        if node.op_type != "Constant":
            name = operator_name(node.domain, node.op_type)
            graph.nodes.append(Node(name, node.name, list(node.input), list(node.output), attributes, custom=custom))
    for subgraph in _subgraphs(proto):
        _add(subgraph, graph, functions)


def _dimension(dimension: Any) -> int | str | None:
    if dimension.HasField("dim_value"):
        return dimension.dim_value
    return dimension.dim_param or None


def _quantization(name: str, graph: Graph, values: dict[str, TensorProto]) -> tuple[float | None, int | None]:
    """Scale and zero point of an input that is dequantized at once, or of an output that was just quantized."""
    from onnx import numpy_helper

    for node in graph.nodes:
        if (node.operator == "DequantizeLinear" and node.inputs[0] == name) or (node.operator == "QuantizeLinear" and name in node.outputs):
            parameters = [values[p] for p in node.inputs[1:] if p in values]
            if parameters and all(math.prod(p.dims) == 1 for p in parameters):
                scale, zero_point = [numpy_helper.to_array(p).item() for p in parameters] + [0] * (2 - len(parameters))
                return float(scale), int(zero_point)
    return None, None
