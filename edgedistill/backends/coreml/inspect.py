"""Reads an .mlpackage with an ML program, by the messages of coremltools; it is not compiled and not loaded.

Messages: https://apple.github.io/coremltools/mlmodel/index.html. Weights: 64 bytes of description before each in weight.bin, see
https://github.com/apple/coremltools/blob/main/mlmodel/src/MILBlob/Blob/StorageFormat.hpp.
"""

import json
import math
import struct
from pathlib import Path
from typing import Any

from edgedistill.backends.inspect.graph import (
    Graph,
    Node,
    Tensor,
    Unknown,
    Unsupported,
    describe,
    known,
    port,
    stored_bytes,
    without_parents,
)
from edgedistill.records.inspection import Content, Dimension, InspectedPort

_UNKNOWN = {"einsum", "gru", "lstm", "rnn", "while_loop", "cond"}
_SENTINEL = 0xDEADBEEF
_PARAMETERS = {"string", "bool", "int32"}
"""Types of constants that say how an operator works, as strides do, unless they are in the file of weights."""
_MULTIARRAY_TYPES = {"DOUBLE": "float64"}


def read(path: Path) -> Content:
    """The content of the package."""
    graph = Graph()
    model = load(path, graph)
    functions = model.mlProgram.functions
    description = model.description
    interface = description.functions[0] if description.functions and not description.input else description
    # A map of messages has another order each time.
    own = dict(sorted(description.metadata.userDefined.items()))
    source, made = own.pop("com.github.apple.coremltools.source", None), own.pop("com.github.apple.coremltools.version", None)
    texts = {"description": "shortDescription", "author": "author", "license": "license", "version": "versionString"}
    notes = {key: getattr(description.metadata, name) for key, name in texts.items()}
    return describe(
        graph,
        macs,
        version={"specification": model.specificationVersion, "opset": next(iter(functions.values())).opset},
        producer=known(f"coremltools {made}{f' from {source}' if source else ''}" if made else None, "the file does not give it"),
        inputs=[_port(feature, graph) for feature in interface.input],
        outputs=[_port(feature, graph) for feature in interface.output],
        metadata={key: value for key, value in notes.items() if value} | own,
        entries=len(functions),
    )


def load(path: Path, graph: Graph, prefix: str = "") -> Any:
    """Add the package's tensors and operators to `graph`, with `prefix` before their names, and return its message."""
    # coremltools itself takes seconds to import; only its messages are used.
    with without_parents("coremltools"):
        from coremltools.proto import Model_pb2

    model, file = Model_pb2.Model(), _model_file(path)
    model.ParseFromString(file.read_bytes())
    kind = model.WhichOneof("Type")
    if kind is None:
        raise ValueError("it holds no model")
    if kind != "mlProgram":
        raise Unsupported(f"found a Core ML {kind}, expected an ML program: convert it with minimum_deployment_target iOS15 or later")
    weights = _Weights(path, file.parent)
    functions = model.mlProgram.functions
    if not functions:
        raise ValueError("its program has no function")
    for name, function in functions.items():
        inside = f"{prefix}{name}/" if len(functions) > 1 else prefix
        for value in function.inputs:
            graph.tensors[inside + value.name] = _described(value.type)
        _add(function.block_specializations[function.opset], inside, graph, weights)
    if not graph.nodes:
        raise ValueError("its program has no operator")
    return model


def macs(node: Node, graph: Graph) -> int:
    """Multiply-accumulates of one operator; a convolution has weights [out, in / groups, ...], a transposed one [in, out / groups, ...]."""
    by_key = node.arguments
    match node.operator:
        case "conv":
            return graph.elements(node.outputs[0]) * math.prod(graph.shape(by_key["weight"])[1:])
        case "conv_transpose":
            return graph.elements(by_key["x"]) * math.prod(graph.shape(by_key["weight"])[1:])
        case "linear":
            return graph.elements(node.outputs[0]) * graph.shape(by_key["weight"])[-1]
        case "matmul":
            return graph.elements(node.outputs[0]) * graph.shape(by_key["x"])[-2 if node.attributes.get("transpose_x") else -1]
        case "scaled_dot_product_attention":
            *batch, query, width = graph.shape(by_key["query"])
            keys, value_width = graph.shape(by_key["key"])[-2], graph.shape(by_key["value"])[-1]
            return math.prod(batch) * query * keys * (width + value_width)
    if node.operator in _UNKNOWN:
        raise Unknown(f"there is no formula for {node.operator}")
    return 0


class _Weights:
    """The files of weights of a package."""

    def __init__(self, package: Path, folder: Path) -> None:
        self.package, self.folder = package.resolve(), folder

    def check(self, blob: Any, size: int) -> None:
        """Raises ValueError unless the file has `size` bytes for this constant."""
        file = (self.folder / blob.fileName.removeprefix("@model_path/")).resolve()
        if not file.is_relative_to(self.package):
            raise ValueError(f"its weights are outside of it, in {blob.fileName}")
        with open(file, "rb") as handle:
            handle.seek(blob.offset)
            head = handle.read(24)
        if len(head) < 24:
            raise ValueError(f"{file.name} ends before its constant at {blob.offset}")
        sentinel, _, length, start = struct.unpack("<IIQQ", head)
        if sentinel != _SENTINEL or length < size:
            raise ValueError(f"{file.name} has no constant of {size} bytes at {blob.offset}")
        if start + length > file.stat().st_size:
            raise ValueError(f"{file.name} has {file.stat().st_size} bytes, expected at least {start + length}")


def _model_file(path: Path) -> Path:
    manifest = json.loads((path / "Manifest.json").read_bytes())
    file = path / "Data" / manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]["path"]
    if not file.resolve().is_relative_to(path.resolve()):
        raise ValueError("its manifest names a model outside of it")
    return file


def _described(value: Any) -> Tensor:
    """The type and shape of a value."""
    from coremltools.proto import MIL_pb2

    kind = value.WhichOneof("type")
    if kind == "stateType":
        return _described(value.stateType.wrappedType)
    if kind != "tensorType":
        return Tensor(None, None)
    tensor = value.tensorType
    shape = [int(d.constant.size) if d.WhichOneof("dimension") == "constant" else None for d in tensor.dimensions]
    return Tensor(MIL_pb2.DataType.Name(tensor.dataType).lower(), [*shape])


def _constant(value: Any, weights: _Weights) -> Tensor:
    """A constant with its bytes, 0 for those that only say how an operator works."""
    tensor = _described(value.type)
    if tensor.type is None or tensor.shape is None or tensor.type == "string":
        return Tensor(tensor.type, tensor.shape, 0)
    size = stored_bytes(tensor.type, math.prod(s for s in tensor.shape if isinstance(s, int)))
    if value.WhichOneof("value") == "blobFileValue":
        weights.check(value.blobFileValue, size)
        # One offset may be given to several constants.
        return Tensor(tensor.type, tensor.shape, size, (value.blobFileValue.fileName, value.blobFileValue.offset))
    return Tensor(tensor.type, tensor.shape, 0 if tensor.type in _PARAMETERS else size)


def _add(block: Any, prefix: str, graph: Graph, weights: _Weights) -> None:
    """Add the tensors and operators of a block and of the blocks inside of it."""
    flags: dict[str, bool] = {}
    for operator in block.operations:
        outputs = [prefix + o.name for o in operator.outputs]
        if operator.type == "const":
            value = operator.attributes["val"]
            graph.tensors[outputs[0]] = _constant(value, weights)
            flags[outputs[0]] = any(value.immediateValue.tensor.bools.values)
            continue
        for name, output in zip(outputs, operator.outputs, strict=True):
            graph.tensors[name] = _described(output.type)
        inputs: list[str] = []
        by_key: dict[str, str] = {}
        for key, argument in operator.inputs.items():
            for number, binding in enumerate(argument.arguments):
                name = prefix + binding.name
                if binding.WhichOneof("binding") == "value":
                    name = f"{outputs[0] if outputs else prefix}/{key}{number}"
                    graph.tensors[name] = _constant(binding.value, weights)
                inputs.append(name)
                by_key[key] = name
        for key, value in operator.attributes.items():
            # Compressed weights are attributes of their decompression.
            if key != "name" and value.type.WhichOneof("type") == "tensorType":
                inputs.append(f"{outputs[0] if outputs else prefix}/{key}")
                graph.tensors[inputs[-1]] = _constant(value, weights)
        transposed = {"transpose_x": flags.get(by_key.get("transpose_x", ""), False)}
        graph.nodes.append(Node(operator.type, outputs[0] if outputs else "", inputs, outputs, transposed, by_key))
        for inner in operator.blocks:
            _add(inner, prefix, graph, weights)


def _port(feature: Any, graph: Graph) -> InspectedPort:
    """An input or output as apps see it."""
    kind = feature.type.WhichOneof("Type")
    if kind == "imageType":
        image = feature.type.imageType
        return port(feature.name, Tensor(f"image {image.ColorSpace.Name(image.colorSpace)}", [image.height, image.width]))
    if kind != "multiArrayType":
        return port(feature.name, Tensor(str(kind).removesuffix("Type").lower(), []))
    array = feature.type.multiArrayType
    name = array.ArrayDataType.Name(array.dataType)
    shape: list[Dimension] | None = [int(size) for size in array.shape]
    if feature.name in graph.tensors and (array.WhichOneof("ShapeFlexibility") or not shape):
        # Of sizes that vary an input has an example, and an output nothing.
        shape = graph.tensors[feature.name].shape
    return port(feature.name, Tensor(_MULTIARRAY_TYPES.get(name, name.lower()), shape))
