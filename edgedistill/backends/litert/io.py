"""LiteRT: what a file takes and gives. Schema: https://github.com/google-ai-edge/LiteRT/blob/main/tflite/converter/schema/schema.fbs."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np

_STEP = np.float32(1 / 255)
_TO_NHWC = [0, 2, 3, 1]
_ALIGNMENT = 16
_PACKAGES = re.compile(rb"(?:\w+\.)+(?=\w+_)")


def float_io(data: bytes) -> bytes:
    """The same model with float32 input and output: integer ones get a QUANTIZE before and a DEQUANTIZE behind."""
    return _edited(data, _floats_in)


def bytes_in(data: bytes) -> bytes:
    """The same model with an input of uint8 [1, H, W, C] that stands for byte / 255, and float32 output.

    The converter begins a program with a TRANSPOSE to this order, which goes. An int8 model reads the bytes by one QUANTIZE where that is
    exact, and else divides them by 255 in float32, as a model of floats does: the values are the very ones that a float32 image has.
    Raises ValueError where the program begins otherwise.
    """
    return _edited(data, _bytes_in)


def _edited(data: bytes, inputs: Callable[[Any, Any, Any], None]) -> bytes:
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(data)
    graph = model.subgraphs[0]
    # The reader's arrays can't be written to.
    graph.inputs, graph.outputs = [int(i) for i in graph.inputs], [int(i) for i in graph.outputs]
    inputs(schema, model, graph)
    for position, inner in enumerate(graph.outputs):
        if graph.tensors[inner].type in _integers(schema):
            outer = _twin(graph, inner, schema.TensorType.FLOAT32)
            graph.operators.append(_operator(schema, model, schema.BuiltinOperator.DEQUANTIZE, [inner], outer))
            graph.outputs[position] = outer
            _rename([t for s in model.signatureDefs or [] for t in s.outputs], inner, outer)
    return packed(model, len(data))


def compact(data: bytes) -> bytes:
    """The same model with what its methods have alike stored once, and without the packages of classes in the names of tensors.

    In a small language model these names took more bytes than all else that a method has beside its weights.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(data)
    for buffer in model.buffers:
        # The quantizer puts weights behind the flatbuffer.
        if buffer.offset > 1:
            buffer.data = np.frombuffer(data, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            tensor.name = _PACKAGES.sub(b".", tensor.name)
    return packed(model, len(data))


def packed(model: Any, size: int) -> bytes:
    """The bytes of `model`, about `size` of them."""
    builder = _sharing_builder(size + 4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _integers(schema: Any) -> tuple[int, int]:
    """The types of quantized activations."""
    return schema.TensorType.INT8, schema.TensorType.INT16


def _floats_in(schema: Any, model: Any, graph: Any) -> None:
    for position, inner in enumerate(graph.inputs):
        if graph.tensors[inner].type in _integers(schema):
            outer = _twin(graph, inner, schema.TensorType.FLOAT32)
            graph.operators.insert(0, _operator(schema, model, schema.BuiltinOperator.QUANTIZE, [outer], inner))
            graph.inputs[position] = outer
            _rename([t for s in model.signatureDefs or [] for t in s.inputs], inner, outer)


def _bytes_in(schema: Any, model: Any, graph: Any) -> None:
    kinds, types = schema.BuiltinOperator, schema.TensorType
    (old,) = graph.inputs
    readers, names = _readers(schema, model, graph, old)
    begin = readers[:1]
    if names == ["QUANTIZE"]:
        # So it is where layers are left in floating point, whose program the converter takes as it is written.
        readers, names = _readers(schema, model, graph, readers[0].outputs[0])
        begin += readers[:1]
    if names != ["TRANSPOSE"] or _constant(model, graph, readers[0].inputs[1]) != _TO_NHWC:
        raise ValueError(f"the program begins with {', '.join(names)}, expected one TRANSPOSE to NHWC; take the input float32-nchw")
    (inner,) = readers[0].outputs
    for operator in begin:
        graph.operators.remove(operator)
    outer = _twin(graph, inner, types.UINT8)
    graph.tensors[outer].name = _name(graph, old) + b"_uint8"
    steps = schema.QuantizationParametersT()
    steps.scale, steps.zeroPoint = [_STEP], [0]
    graph.tensors[outer].quantization = steps
    quantized = graph.tensors[inner].type in _integers(schema)
    scale = graph.tensors[inner].quantization
    if quantized and (scale.scale[0], scale.zeroPoint[0]) == (_STEP, -128):
        first = [_operator(schema, model, kinds.QUANTIZE, [outer], inner)]
    else:
        whole = _twin(graph, inner, types.FLOAT32, b"_whole")
        image = _twin(graph, inner, types.FLOAT32) if quantized else inner
        first = [_operator(schema, model, kinds.CAST, [outer], whole)]
        first.append(_operator(schema, model, kinds.DIV, [whole, _number(schema, model, graph, 255.0)], image))
        first[-1].builtinOptionsType, first[-1].builtinOptions = schema.BuiltinOptions.DivOptions, schema.DivOptionsT()
        first += [_operator(schema, model, kinds.QUANTIZE, [image], inner)] if quantized else []
    graph.operators[:0] = first
    graph.inputs = [outer]
    _rename([t for s in model.signatureDefs or [] for t in s.inputs], old, outer)


def _readers(schema: Any, model: Any, graph: Any, index: int) -> tuple[list[Any], list[str]]:
    """The operators that read tensor `index`, and their names."""
    names = {value: name for name, value in vars(schema.BuiltinOperator).items()}
    readers = [operator for operator in graph.operators if index in operator.inputs]
    return readers, [names[model.operatorCodes[operator.opcodeIndex].builtinCode] for operator in readers]


def _constant(model: Any, graph: Any, index: int) -> list[int]:
    data = model.buffers[graph.tensors[index].buffer].data
    return [] if data is None else np.frombuffer(bytes(data), "<i4").tolist()


def _number(schema: Any, model: Any, graph: Any, value: float) -> int:
    """A float32 constant without dimensions."""
    buffer, tensor = schema.BufferT(), schema.TensorT()
    buffer.data = np.frombuffer(np.array(value, "<f4").tobytes(), np.uint8)
    model.buffers.append(buffer)
    tensor.shape, tensor.hasRank, tensor.type, tensor.buffer = [], True, schema.TensorType.FLOAT32, len(model.buffers) - 1
    tensor.name = f"{value:g}".encode()
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _twin(graph: Any, index: int, kind: int, suffix: bytes = b"_float32") -> int:
    """A new tensor of the shape of tensor `index`, of type `kind`."""
    from ai_edge_litert import schema_py_generated as schema

    source, twin = graph.tensors[index], schema.TensorT()
    twin.shape, twin.shapeSignature, twin.hasRank = source.shape, source.shapeSignature, True
    twin.type, twin.buffer = kind, 0
    twin.name = _name(graph, index) + suffix
    graph.tensors.append(twin)
    return len(graph.tensors) - 1


def _name(graph: Any, index: int) -> bytes:
    name = graph.tensors[index].name
    return name if isinstance(name, bytes) else name.encode()


def _rename(tensors: list[Any], old: int, new: int) -> None:
    """Let the ports of a signature that name tensor `old` name `new`."""
    for tensor in tensors:
        if tensor.tensorIndex == old:
            tensor.tensorIndex = new


def _operator(schema: Any, model: Any, code: int, sources: list[int], target: int) -> Any:
    position = next((i for i, known in enumerate(model.operatorCodes) if known.builtinCode == code), None)
    if position is None:
        entry = schema.OperatorCodeT()
        versions = {schema.BuiltinOperator.QUANTIZE: 2, schema.BuiltinOperator.DEQUANTIZE: 2}
        entry.builtinCode, entry.deprecatedBuiltinCode, entry.version = code, min(code, 127), versions.get(code, 1)
        model.operatorCodes.append(entry)
        position = len(model.operatorCodes) - 1
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = position, sources, [target]
    return operator


def _sharing_builder(size: int):  # type: ignore[no-untyped-def]
    """A builder that stores equal arrays and names once: each channel has a zero point of 8 bytes, always 0, in its weights and its bias.

    Methods that share weights name their tensors alike, and each has the scales. Arrays of bytes are weights, which the schema aligns.
    """
    import flatbuffers

    class Sharing(flatbuffers.Builder):
        def __init__(self, size: int) -> None:
            super().__init__(size)
            self.stored: dict[tuple[str, bytes], int] = {}

        def CreateNumpyVector(self, x):  # type: ignore[no-untyped-def]
            key = (x.dtype.str, x.tobytes())
            if key not in self.stored:
                if x.dtype == np.uint8:
                    self.Prep(_ALIGNMENT, x.nbytes)
                self.stored[key] = super().CreateNumpyVector(x)
            return self.stored[key]

        def CreateString(self, s, *options):  # type: ignore[no-untyped-def]
            key = ("", s if isinstance(s, bytes) else s.encode())
            if key not in self.stored:
                self.stored[key] = super().CreateString(s, *options)
            return self.stored[key]

    return Sharing(size)
