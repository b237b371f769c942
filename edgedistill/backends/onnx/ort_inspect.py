"""Reads an .ort file, ONNX Runtime's own form of an ONNX model, by the schema that comes with onnxruntime."""

import math
import sys
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from edgedistill.backends.inspect.graph import Graph, Node, Strict, Tensor, describe, known, package_folder, port, stored_bytes, text
from edgedistill.backends.onnx.inspect import is_custom, macs, operator_name, type_name
from edgedistill.records.inspection import Content


def read(path: Path) -> Content:
    """The content of the file."""
    session, graph = load(path)
    model = session.Model()
    main = model.Graph()
    stored = {text(main.Initializers(i).Name()) for i in range(main.InitializersLength())}
    opsets = [model.OpsetImport(i) for i in range(model.OpsetImportLength())]
    properties = [model.MetadataProps(i) for i in range(model.MetadataPropsLength())]
    description = text(model.DocString())
    metadata: dict[str, JsonValue] = {text(p.Key()): text(p.Value()) for p in properties}
    if description:
        metadata["description"] = description
    inputs = [text(main.Inputs(i)) for i in range(main.InputsLength())]
    outputs = [text(main.Outputs(i)) for i in range(main.OutputsLength())]
    return describe(
        graph,
        macs,
        version={
            "ort_format": text(session.OrtVersion()),
            "ir": model.IrVersion(),
            "opsets": {text(o.Domain()) or "ai.onnx": o.Version() for o in opsets},
        },
        producer=known(f"{text(model.ProducerName())} {text(model.ProducerVersion())}".strip(), "the file does not give it"),
        inputs=[port(name, graph.tensors[name]) for name in inputs if name not in stored],
        outputs=[port(name, graph.tensors[name]) for name in outputs],
        metadata=metadata,
    )


def load(path: Path) -> tuple[Any, Graph]:
    """What the file holds as its schema has it, and its tensors and operators."""
    # The package that it is in adds this path as well, after seconds of other imports.
    sys.path.append(str(package_folder("onnxruntime") / "tools" / "ort_format_model"))
    from ort_flatbuffers_py.fbs.InferenceSession import InferenceSession

    session = InferenceSession.GetRootAsInferenceSession(Strict(path.read_bytes()), 0)
    model = session.Model()
    if model is None or model.Graph() is None or not model.Graph().NodesLength():
        raise ValueError("it has no model or no operators")
    main, graph = model.Graph(), Graph()
    _add(main, graph)
    return session, graph


def _add(source: Any, graph: Graph) -> None:
    """Add the constants, types, shapes and operators of a graph and its subgraphs."""
    for tensor in (source.Initializers(i) for i in range(source.InitializersLength())):
        dtype = _type(tensor.DataType())
        shape = [tensor.Dims(i) for i in range(tensor.DimsLength())]
        if dtype == "string":
            size = sum(len(tensor.StringData(i)) for i in range(tensor.StringDataLength()))
        else:
            size = stored_bytes(dtype, math.prod(shape))
            # Large weights may be in a file of their own; those that are here have to be here whole.
            here = tensor.RawDataLength()
            if here and (here != size or len(tensor.RawDataAsNumpy()) != size):
                raise ValueError(f"the constant {text(tensor.Name())} has {here} bytes, expected {size}")
        graph.tensors[text(tensor.Name())] = Tensor(dtype, list(shape), size)
    for value in (source.NodeArgs(i) for i in range(source.NodeArgsLength())):
        graph.tensors.setdefault(text(value.Name()), _tensor(value))
    for node in (source.Nodes(i) for i in range(source.NodesLength())):
        attributes, subgraphs = _attributes(node)
        custom = is_custom(text(node.Domain()))
        inputs = [text(node.Inputs(i)) for i in range(node.InputsLength())]
        outputs = [text(node.Outputs(i)) for i in range(node.OutputsLength())]
        name = operator_name(text(node.Domain()), text(node.OpType()))
        graph.nodes.append(Node(name, text(node.Name()), inputs, outputs, attributes, custom=custom))
        for subgraph in subgraphs:
            _add(subgraph, graph)


def _type(number: int) -> str:
    from ort_flatbuffers_py.fbs.TensorDataType import TensorDataType

    names = {value: name for name, value in vars(TensorDataType).items() if isinstance(value, int)}
    return type_name(names[number])


def _tensor(value: Any) -> Tensor:
    from ort_flatbuffers_py.fbs.TensorTypeAndShape import TensorTypeAndShape
    from ort_flatbuffers_py.fbs.TypeInfoValue import TypeInfoValue

    info = value.Type()
    if info is None or info.ValueType() != TypeInfoValue.tensor_type:
        return Tensor(None, None)
    typed = TensorTypeAndShape()
    typed.Init(info.Value().Bytes, info.Value().Pos)
    shape = typed.Shape()
    sizes = None if shape is None else [_dimension(shape.Dim(i).Value()) for i in range(shape.DimLength())]
    return Tensor(_type(typed.ElemType()), sizes)


def _dimension(value: Any) -> int | str | None:
    from ort_flatbuffers_py.fbs.DimensionValueType import DimensionValueType

    if value is None or value.DimType() == DimensionValueType.UNKNOWN:
        return None
    return value.DimValue() if value.DimType() == DimensionValueType.VALUE else text(value.DimParam())


def _attributes(node: Any) -> tuple[dict[str, int], list[Any]]:
    """Whole numbers among the attributes of a node, and the graphs among them."""
    from ort_flatbuffers_py.fbs.AttributeType import AttributeType

    attributes: dict[str, int] = {}
    subgraphs = []
    for attribute in (node.Attributes(i) for i in range(node.AttributesLength())):
        if attribute.Type() == AttributeType.INT:
            attributes[text(attribute.Name())] = attribute.I()
        elif attribute.Type() == AttributeType.GRAPH:
            subgraphs.append(attribute.G())
        elif attribute.Type() == AttributeType.GRAPHS:
            subgraphs += [attribute.Graphs(i) for i in range(attribute.GraphsLength())]
    return attributes, subgraphs
