"""LiteRT: a .tflite with float32 output; int8 in the form that LiteRT's XNNPACK delegate takes whole."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from torch.export import ExportedProgram

from edgedistill.backends.litert import int16 as litert_int16
from edgedistill.backends.litert.constants import put_constants_behind
from edgedistill.backends.litert.fences import fence, fence_weights
from edgedistill.backends.litert.io import bytes_in, compact, float_io
from edgedistill.backends.litert.linear import flatten_vectors
from edgedistill.backends.litert.state import methods
from edgedistill.backends.litert.transposed import crop_outputs
from edgedistill.backends.litert.weights import pack
from edgedistill.export.programs import rewritten
from edgedistill.export.resizing import choose_nearest, interpolate_by_products, resize_by_products
from edgedistill.export.tables import gather_steps
from edgedistill.files import replacing, write_bytes
from edgedistill.quantize.graph import float_layers
from edgedistill.recipe.inputs import takes_bytes
from edgedistill.recipe.precisions import is_integer, is_wide
from edgedistill.records import ArtifactSpec
from edgedistill.signature import Signature

_FOR_LITERT = (crop_outputs, resize_by_products, interpolate_by_products, choose_nearest, flatten_vectors, put_constants_behind)
"""What a program is rewritten by before litert_torch converts it."""


def lower(program: ExportedProgram, signature: Signature, path: Path, spec: ArtifactSpec, metadata: dict[str, str]) -> None:
    """Write `program` (batch 1; for int8 and int16x8 with unfolded weights) as the file `path`."""
    import litert_torch
    from litert_torch.quantize.pt2e_quantizer import PT2EQuantizer, get_symmetric_quantization_config
    from litert_torch.quantize.quant_config import QuantConfig

    example = program.example_inputs[0]
    config = None
    quantized = is_integer(spec.precision)
    if is_wide(spec.precision):
        litert_int16.check(program)
    program = rewritten(program, *_FOR_LITERT)
    if quantized:
        program = rewritten(program, fence)
        # Names the scheme, so that the converter fuses quantize and dequantize into integer operators; the scales stay the program's.
        scheme = get_symmetric_quantization_config(is_per_channel=True, is_qat=True)
        config = QuantConfig(pt2e_quantizer=PT2EQuantizer().set_global(scheme))
    elif spec.precision != "fp32":
        program = rewritten(program, gather_steps, fence_weights)
    with _strict() if quantized and float_layers(program.graph_module) else nullcontext():
        if signature.state:
            model = methods(program, signature).convert()
        else:
            model = litert_torch.convert(program.module(), example, quant_config=config)
    with replacing(path) as temporary:
        model.export(str(temporary))
    data = path.read_bytes()
    if is_wide(spec.precision):
        data = litert_int16.widen_biases(data)
    elif not quantized and spec.precision != "fp32":
        data = pack(data, spec.precision)
    if signature.state:
        data = compact(data)
    write_bytes(path, bytes_in(data) if takes_bytes(spec.input) else float_io(data) if quantized else data)


@contextmanager
def _strict() -> Iterator[None]:
    """Lets the converter quantize only what is quantized: it would do so as well with float layers between int8 values or behind the last.

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
