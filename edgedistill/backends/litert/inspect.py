"""Reads a .tflite file; schema: https://github.com/google-ai-edge/LiteRT/blob/main/tflite/converter/schema/schema.fbs."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from edgedistill.backends.inspect.graph import Graph, Node, Strict, Tensor, Unknown, describe, known, port, text
from edgedistill.measure.runner.naming import in_order
from edgedistill.records.inspection import Content, InspectedPort

_UNKNOWN = {
    "CALL", "CALL_ONCE", "IF", "WHILE", "LSTM", "RNN", "SVDF", "UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN",
    "BIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_RNN", "CONV_3D_TRANSPOSE", "STABLEHLO_CONVOLUTION", "STABLEHLO_DOT_GENERAL",
    "STABLEHLO_WHILE", "STABLEHLO_CUSTOM_CALL",
}  # fmt: skip
_SHOWN_METADATA = 200


def read(path: Path) -> Content:
    """The content of the file."""
    model, graph, names = load(path)
    metadata: dict[str, JsonValue] = {text(m.name): _value(model.buffers[m.buffer].data) for m in _list(model.metadata)}
    minimum = metadata.pop("min_runtime_version", None)
    return describe(
        graph,
        macs,
        version={"schema": model.version, "min_runtime": known(str(minimum or ""), "the file does not give it")},
        producer=known(text(model.description), "the file does not give it"),
        inputs=_ports(model, graph, names, "inputs"),
        outputs=_ports(model, graph, names, "outputs"),
        metadata=metadata,
        entries=1 if len(_methods(model)) > 1 else len(_list(model.signatureDefs)) or 1,
    )


def load(path: Path) -> tuple[Any, Graph, list[str]]:
    """The model, its tensors and operators, those of the first subgraph first, and the names in there of its tensors.

    Of a program with a method for each of several sizes it is the first method, which has all weights.
    """
    from ai_edge_litert import schema_py_generated as schema

    data = Strict(path.read_bytes())
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    if not model.subgraphs:
        raise ValueError("it has no subgraph")
    graph = Graph()
    names: list[list[str]] = []
    stored = [_stored(buffer, len(data)) for buffer in model.buffers]
    types = _names_of(schema.TensorType)
    builtin = _names_of(schema.BuiltinOperator)
    codes = [_operator(code, builtin) for code in model.operatorCodes]
    others = {method.subgraphIndex for method in _methods(model)[1:]}
    for number, subgraph in enumerate(model.subgraphs):
        if number in others:
            continue
        names.append([f"{number}/{index}" for index in range(len(subgraph.tensors))])
        for name, tensor in zip(names[-1], subgraph.tensors, strict=True):
            graph.tensors[name] = Tensor(types[tensor.type].lower(), _shape(tensor), stored[tensor.buffer] or None, tensor.buffer)
        graph.nodes += [_node(o, codes[o.opcodeIndex], subgraph, names[-1]) for o in _list(subgraph.operators)]
    return model, graph, names[0]


def macs(node: Node, graph: Graph) -> int:
    """Multiply-accumulates of one operator; filters are [out, height, width, in], depthwise [1, height, width, out]."""
    match node.operator:
        case "CONV_2D":
            return graph.elements(node.outputs[0]) * math.prod(graph.shape(node.inputs[1])[1:])
        case "DEPTHWISE_CONV_2D":
            return graph.elements(node.outputs[0]) * math.prod(graph.shape(node.inputs[1])[1:3])
        case "TRANSPOSE_CONV":
            return graph.elements(node.inputs[2]) * math.prod(graph.shape(node.inputs[1])[:3])
        case "CONV_3D":
            return graph.elements(node.outputs[0]) * math.prod(graph.shape(node.inputs[1])[:-1])
        case "FULLY_CONNECTED":
            return graph.elements(node.outputs[0]) * graph.shape(node.inputs[1])[-1]
        case "BATCH_MATMUL":
            return graph.elements(node.outputs[0]) * graph.shape(node.inputs[0])[-2 if node.attributes.get("adjX") else -1]
    if node.operator in _UNKNOWN or node.custom:
        raise Unknown(f"there is no formula for {node.operator}")
    return 0


def _list(value: Any) -> list[Any]:
    return [] if value is None else list(value)


def _names_of(constants: type) -> dict[int, str]:
    return {value: name for name, value in vars(constants).items() if isinstance(value, int)}


def _operator(code: Any, builtin: dict[int, str]) -> str:
    # Files from before operator 127 have the number in the deprecated field only.
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    return text(code.customCode) if builtin[number] == "CUSTOM" else builtin[number]


def _stored(buffer: Any, size: int) -> int:
    if buffer.offset + buffer.size > size:
        raise ValueError(f"found {size} bytes, expected at least {buffer.offset + buffer.size}")
    return len(buffer.data) if buffer.data is not None else buffer.size


def _shape(tensor: Any) -> list[Any]:
    shape = tensor.shapeSignature if tensor.shapeSignature is not None else tensor.shape
    return [int(size) if size >= 0 else None for size in _list(shape)]


def _node(operator: Any, kind: str, subgraph: Any, names: list[str]) -> Node:
    options = operator.builtinOptions
    attributes = {"adjX": bool(getattr(options, "adjX", False))}
    outputs = _list(operator.outputs)
    name = text(subgraph.tensors[outputs[0]].name) if outputs else ""
    inputs = [names[i] if i >= 0 else "" for i in _list(operator.inputs)]
    return Node(kind, name, inputs, [names[i] for i in outputs], attributes, custom=operator.customOptions is not None)


def _methods(model: Any) -> list[Any]:
    """The signatures of a file, that of the first subgraph first, if all have the same names; none otherwise.

    They are methods of one program for inputs of several sizes.
    """
    signatures = sorted(_list(model.signatureDefs), key=lambda signature: signature.subgraphIndex)
    names = [[set(_places(signature, kind)) for kind in ("inputs", "outputs")] for signature in signatures]
    return signatures if all(own == names[0] for own in names) else []


def _places(signature: Any, kind: str) -> dict[str, int]:
    """The tensors of the `kind` inputs or outputs of a signature, by name."""
    return {text(own.name): int(own.tensorIndex) for own in _list(getattr(signature, kind))}


def _ports(model: Any, graph: Graph, names: list[str], kind: str) -> list[InspectedPort]:
    """The `kind` inputs or outputs; see `_sizes`."""
    tensors, methods = model.subgraphs[0].tensors, _methods(model)
    found = []
    for name, index in _named(model, kind):
        described = graph.tensors[names[index]]
        if len(methods) > 1:
            described = replace(described, shape=_sizes(model, methods, kind, name))
        found.append(_port(name, tensors[index], described))
    return found


def _sizes(model: Any, methods: list[Any], kind: str, name: str) -> list[Any]:
    """The sizes of a tensor. One that differs between methods is called after them: of `tokens_1` and `tokens_32` it is `tokens`."""
    shapes = [_shape(model.subgraphs[method.subgraphIndex].tensors[_places(method, kind)[name]]) for method in methods]
    called = text(methods[0].signatureKey).rpartition("_")[0] or "size"
    return [sizes[0] if len(set(sizes)) == 1 else called for sizes in zip(*shapes, strict=True)]


def _named(model: Any, kind: str) -> list[tuple[str, int]]:
    """Names and tensors of the `kind` inputs or outputs, as adapters take them: those of the first method, else of the first subgraph."""
    if signatures := _methods(model):
        indices = _places(signatures[0], kind)
        return [(name, indices[name]) for name in in_order(indices)]
    main = model.subgraphs[0]
    return [(text(main.tensors[index].name), int(index)) for index in _list(getattr(main, kind))]


def _port(name: str, tensor: Any, described: Tensor) -> InspectedPort:
    quantization = tensor.quantization
    if quantization is None or quantization.scale is None or len(quantization.scale) != 1:
        return port(name, described)
    return port(name, described, float(quantization.scale[0]), int(_list(quantization.zeroPoint)[0]))


def _value(data: Any) -> str:
    value = b"" if data is None else bytes(data).rstrip(b"\0")
    readable = len(value) <= _SHOWN_METADATA and value.isascii() and value.decode("latin-1").isprintable()
    return value.decode() if readable else f"{len(value)} bytes"
