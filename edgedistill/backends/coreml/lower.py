"""Core ML: an .mlpackage with an ML program, for iOS 17 and later; weights in blocks of 4 bits and a state need iOS 18."""

import importlib
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
from torch.export import ExportedProgram

from edgedistill.backends.coreml.facts import COREML
from edgedistill.backends.coreml.half import computes_in_half
from edgedistill.backends.coreml.reproducible import fix
from edgedistill.backends.coreml.rewrites import FOR_CORE_ML
from edgedistill.backends.coreml.state import write_as_slices
from edgedistill.backends.coreml.weights import pack
from edgedistill.export.fitting import of_file
from edgedistill.export.programs import rewritten
from edgedistill.export.recurrent import written_out
from edgedistill.recipe.precisions import is_static
from edgedistill.records import ArtifactSpec
from edgedistill.signature import Signature

UNSOUND_PASS = "common::int_op_canonicalization"
"""It turns dequantize, reshape, quantize into a reshape of integers without comparing the two scales."""


def lower(program: ExportedProgram, signature: Signature, path: Path, spec: ArtifactSpec, metadata: dict[str, str]) -> None:
    """Write `program` as the package `path`.

    A float program computes in float16, whatever its weights are packed in; `half.computes_in_half` says what does not. An int8 program
    computes in float32 around its int8 tensors: in float16 its scales and biases would be rounded as well, and the file would no longer
    carry the trained state (1.7 LSB mean difference on the quickstart's student, against 0). What a program keeps between calls is always
    float16.
    """
    ct = import_coremltools()
    write_as_slices(ct)
    program = rewritten(program, *FOR_CORE_ML)
    passes = ct.PassPipeline.DEFAULT
    passes.remove_passes({UNSOUND_PASS})
    model = ct.convert(
        # coremltools takes recurrent layers from eager modules only.
        written_out(program),
        inputs=[_image(ct, program)] if spec.input == "image" else None,
        # Without the type a float16 program would answer in float16.
        outputs=[ct.TensorType(name=tensor.name, dtype=_numpy(tensor.dtype)) for tensor in of_file(signature, spec).outputs],
        minimum_deployment_target=ct.target[f"iOS{COREML.oldest_os(spec.precision, state=bool(signature.state))['ios']}"],
        pass_pipeline=passes,
        compute_precision=ct.precision.FLOAT32 if is_static(spec.precision) else ct.transform.FP16ComputePrecision(computes_in_half),
    )
    if spec.precision != "fp16" and not is_static(spec.precision):
        model = pack(ct, model, spec.precision)
    model.short_description = f"{metadata['model']}, {spec.precision}"
    model.user_defined_metadata.update(metadata)
    temporary = path.with_name(f".partial-{path.name}")
    model.save(str(temporary))
    fix(temporary)
    # A package is a folder: it is moved into place whole, so that none is ever half written under its own name.
    shutil.rmtree(path, ignore_errors=True)
    temporary.rename(path)


def _numpy(dtype: str) -> type:
    return {"float16": np.float16, "int32": np.int32}.get(dtype, np.float32)


def _image(ct: ModuleType, program: ExportedProgram):  # type: ignore[no-untyped-def]
    """The program's input as an RGB image: the system gives it bytes, and the program begins with a product with 1 / 255."""
    name = next(node.name for node in program.graph.nodes if node.name in program.graph_signature.user_inputs)
    shape = tuple(program.example_inputs[0][0].shape)
    return ct.ImageType(name=name, shape=shape, scale=1 / 255, color_layout=ct.colorlayout.RGB)


def import_coremltools(without: Sequence[str] = ("sklearn", "executorch")) -> ModuleType:
    """Import coremltools, letting it believe that the packages `without` are not installed.

    It imports each package that it can convert from: 8 s instead of 3 s, and less than 2 s without torchvision and torchao as well.
    A package that was imported before stays in use.
    """
    hidden = [name for name in without if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None makes an import raise ImportError
    try:
        return importlib.import_module("coremltools")
    finally:
        for name in hidden:
            del sys.modules[name]
