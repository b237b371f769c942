"""ORT format: the .onnx as ONNX Runtime's builds for phones load it, optimized before it is saved."""

import tempfile
from pathlib import Path

from torch.export import ExportedProgram

from edgedistill.backends.onnx import lower as onnx
from edgedistill.files import write_bytes
from edgedistill.records import ArtifactSpec
from edgedistill.signature import Signature


def lower(program: ExportedProgram, signature: Signature, path: Path, spec: ArtifactSpec, metadata: dict[str, str]) -> None:
    """Write `program` as the file `path`: the ONNX file of `onnx.lower`, converted by ONNX Runtime's own tool.

    Style Fixed: what fuses into integer kernels is fused now. With style Runtime it is fused at load, but only where the application sets
    `session.enable_saved_runtime_optimizations`; elsewhere the same file computes in floating point, about ten times slower. Platform arm:
    weights stay int8, and no layout is chosen that only x86 computes in.
    """
    from onnxruntime.tools.convert_onnx_models_to_ort import OptimizationStyle, convert_onnx_models_to_ort

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, f"{path.stem}.onnx")
        onnx.lower(program, signature, source, spec, metadata)
        convert_onnx_models_to_ort(source, optimization_styles=[OptimizationStyle.Fixed], target_platform="arm")
        write_bytes(path, source.with_suffix(".ort").read_bytes())
