"""Core AI: an .aimodel folder for iOS 27, macOS 27 and later."""

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from torch.export import ExportedProgram
from torch.fx import GraphModule

from edgedistill.backends.coreai.half import in_float16, scale_norms
from edgedistill.backends.coreai.quantized import own_quantization
from edgedistill.backends.coreai.reproducible import fixed_names, name_constants, note
from edgedistill.backends.coreai.rewrites import truncate_casts, write_means, write_out
from edgedistill.backends.coreai.weights import pack
from edgedistill.export.programs import rewritten
from edgedistill.export.resizing import choose_nearest, interpolate_by_products
from edgedistill.quantize.fold import fold_float
from edgedistill.quantize.pooling import pool_for_core_ai
from edgedistill.recipe.precisions import is_static, needs_program
from edgedistill.records import ArtifactSpec
from edgedistill.signature import Signature

_WRITTEN_OUT = (write_out, write_means, truncate_casts, interpolate_by_products, choose_nearest)


def lower(program: ExportedProgram, signature: Signature, path: Path, spec: ArtifactSpec, metadata: dict[str, str]) -> None:
    """Write `program` as the asset `path`.

    A float program computes in float16 but for fp32, whatever its weights are packed in. An int8 program computes in float32 around its
    int8 tensors, as one of Core ML does: scales and biases stay those of the trained state.
    """
    import coreai_torch
    import coreai_torch._compression.custom_layers  # registers torch.ops.coreai

    program = rewritten(program, *_rules(spec.precision)).run_decompositions(coreai_torch.get_decomp_table())
    if spec.precision != "fp32" and not is_static(spec.precision):
        program = in_float16(program)
    converter = coreai_torch.TorchConverter(mode=coreai_torch.TorchConverter.Mode.RELEASE)
    inputs, outputs = ([tensor.name for tensor in side] for side in (signature.inputs, signature.outputs))
    converter.add_exported_program(program, input_names=inputs, output_names=outputs)
    with fixed_names():
        made = converter.to_coreai()
    name_constants(made)
    # An asset is a folder: it is moved into place whole, so that none is ever half written under its own name.
    temporary = path.with_name(f".partial-{path.name}")
    made.save_asset(temporary)
    note(temporary, f"{metadata['model']}, {spec.precision}", metadata)
    shutil.rmtree(path, ignore_errors=True)
    temporary.rename(path)


def _rules(precision: str) -> Sequence[Callable[[GraphModule], int]]:
    """What is changed in the program before it is decomposed."""
    if is_static(precision):
        return (*_WRITTEN_OUT, own_quantization)
    packed = [partial(pack, precision=precision)] if needs_program(precision) else []
    return (*_WRITTEN_OUT, pool_for_core_ai, fold_float, scale_norms, *packed)
