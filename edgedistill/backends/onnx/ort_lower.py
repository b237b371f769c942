"""ORT format: the .onnx as ONNX Runtime's builds for phones load it, optimized before it is saved."""

import tempfile
from pathlib import Path

from torch.export import ExportedProgram

from edgedistill.backends.onnx import lower as onnx
from edgedistill.files import write_bytes
from edgedistill.records import ArtifactSpec
from edgedistill.signature import Signature

_SETTINGS = {
    "session.save_model_format": "ORT",
    # As processors of phones compute: weights stay int8.
    "session.qdqisint8allowed": "1",
    # The optimizer writes it into the products with 8-bit weights, and no option of a later session changes it: by default they round
    # their other side to 8 bits.
    "session.qdq_matmulnbits_accuracy_level": "1",
}
_OF_X86 = ["NchwcTransformer"]
"""Optimizers that choose a layout in which only x86 computes."""


def lower(program: ExportedProgram, signature: Signature, path: Path, spec: ArtifactSpec, metadata: dict[str, str]) -> None:
    """Write `program` as the file `path`: the ONNX file of `onnx.lower`, as ONNX Runtime has optimized it.

    As its own tool `convert_onnx_models_to_ort` does it for the platform arm, in the style Fixed: what fuses into integer kernels is fused
    now. With the style Runtime it is fused at load, but only where the application sets `session.enable_saved_runtime_optimizations`;
    elsewhere the same file computes in floating point, about ten times slower. The tool itself takes no further settings.
    """
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "program.onnx"), Path(folder, "program.ort")
        onnx.lower(program, signature, source, spec, metadata)
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(target)
        for key, value in _SETTINGS.items():
            options.add_session_config_entry(key, value)
        onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"], disabled_optimizers=_OF_X86)
        write_bytes(path, target.read_bytes())
