"""LiteRT: a .tflite with float32 input and output; int8 in the form that LiteRT's XNNPACK delegate takes whole."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from torch.export import ExportedProgram

from edgedistill.export.litert_weights import pack
from edgedistill.export.programs import ArtifactSpec
from edgedistill.files import replacing, write_bytes
from edgedistill.quantize.graph import WEIGHTED
from edgedistill.recipe.precisions import is_static


def lower(program: ExportedProgram, path: Path, spec: ArtifactSpec, metadata: dict[str, str]) -> None:
    """Write `program` (batch 1; for int8 with unfolded weights) as the file `path`."""
    import litert_torch
    from litert_torch.quantize.pt2e_quantizer import PT2EQuantizer, get_symmetric_quantization_config
    from litert_torch.quantize.quant_config import QuantConfig

    example = program.example_inputs[0]
    config = None
    if is_static(spec.precision):
        # Names the scheme, so that the converter fuses quantize and dequantize into int8 operators; the scales stay the trained ones.
        scheme = get_symmetric_quantization_config(is_per_channel=True, is_qat=True)
        config = QuantConfig(pt2e_quantizer=PT2EQuantizer().set_global(scheme))
    with _strict() if config and _has_float_layers(program) else nullcontext():
        model = litert_torch.convert(program.module(), example, quant_config=config)
    with replacing(path) as temporary:
        model.export(str(temporary))
    data = path.read_bytes()
    write_bytes(path, data if spec.precision == "fp32" else float_io(data) if is_static(spec.precision) else pack(data, spec.precision))


def _has_float_layers(program: ExportedProgram) -> bool:
    """Whether a layer reads a dequantized value, and weights that are none."""
    quantized = {node.name for node in program.graph.nodes if "dequantize" in str(node.target)}
    layers = [node for node in program.graph.nodes if node.target in WEIGHTED]
    return any(str(node.args[0]) in quantized and str(node.args[1]) not in quantized for node in layers)


@contextmanager
def _strict() -> Iterator[None]:
    """Lets the converter quantize only what is quantized: it would do so as well with float weights between int8 values.

    Its switch for that is no argument of litert_torch 0.10. Int8 programs are converted without it, which gives smaller files.
    """
    from litert_torch._convert import litert_converter

    api = litert_converter.converter_api_ext
    make = api.ConvertToTFLConfig

    def strict():  # type: ignore[no-untyped-def]
        config = make()
        config.strict_qdq_mode = True
        return config

    api.ConvertToTFLConfig = strict
    try:
        yield
    finally:
        api.ConvertToTFLConfig = make


def float_io(data: bytes) -> bytes:
    """The same model with float32 input and output: int8 ones get a QUANTIZE before and a DEQUANTIZE behind.

    Schema: tensorflow/compiler/mlir/lite/schema/schema.fbs.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(data)
    graph = model.subgraphs[0]
    quantize = {i: _add_float_twin(schema, graph, i) for i in graph.inputs if graph.tensors[i].type == schema.TensorType.INT8}
    dequantize = {i: _add_float_twin(schema, graph, i) for i in graph.outputs if graph.tensors[i].type == schema.TensorType.INT8}
    if not quantize and not dequantize:
        return data
    for inner, outer in quantize.items():
        graph.operators.insert(0, _operator(schema, model, schema.BuiltinOperator.QUANTIZE, outer, inner))
    for inner, outer in dequantize.items():
        graph.operators.append(_operator(schema, model, schema.BuiltinOperator.DEQUANTIZE, inner, outer))
    graph.inputs = [quantize.get(int(i), int(i)) for i in graph.inputs]
    graph.outputs = [dequantize.get(int(i), int(i)) for i in graph.outputs]
    for signature in model.signatureDefs or []:
        for tensor in signature.inputs:
            tensor.tensorIndex = quantize.get(tensor.tensorIndex, tensor.tensorIndex)
        for tensor in signature.outputs:
            tensor.tensorIndex = dequantize.get(tensor.tensorIndex, tensor.tensorIndex)
    builder = _sharing_builder(len(data) + 4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _sharing_builder(size: int):  # type: ignore[no-untyped-def]
    """A builder that stores equal arrays once: each channel has a zero point of 8 bytes, always 0, in its weights and its bias."""
    import flatbuffers

    class Sharing(flatbuffers.Builder):
        def __init__(self, size: int) -> None:
            super().__init__(size)
            self.stored: dict[tuple[str, bytes], int] = {}

        def CreateNumpyVector(self, x):  # type: ignore[no-untyped-def]
            key = (x.dtype.str, x.tobytes())
            if key not in self.stored:
                self.stored[key] = super().CreateNumpyVector(x)
            return self.stored[key]

    return Sharing(size)


def _add_float_twin(schema, graph, index: int) -> int:  # type: ignore[no-untyped-def]
    source, twin = graph.tensors[index], schema.TensorT()
    twin.shape, twin.shapeSignature, twin.hasRank = source.shape, source.shapeSignature, True
    twin.type, twin.buffer = schema.TensorType.FLOAT32, 0
    name = source.name if isinstance(source.name, bytes) else source.name.encode()
    twin.name = name + b"_float32"
    graph.tensors.append(twin)
    return len(graph.tensors) - 1


def _operator(schema, model, code: int, source: int, target: int):  # type: ignore[no-untyped-def]
    position = next((i for i, known in enumerate(model.operatorCodes) if known.builtinCode == code), None)
    if position is None:
        entry = schema.OperatorCodeT()
        entry.builtinCode, entry.deprecatedBuiltinCode, entry.version = code, min(code, 127), 2
        model.operatorCodes.append(entry)
        position = len(model.operatorCodes) - 1
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = position, [source], [target]
    return operator
