"""Core ML: an .mlpackage with an ML program. On a Mac Core ML runs it; elsewhere `mil` executes it operator by operator."""

import platform
from dataclasses import replace
from pathlib import Path

from edgedistill.backends.base import STATIC, Adapter, Backend, Glue

_DYNAMIC = "Core ML has no operator that quantizes activations by their range at run time"
_MAC = Adapter("edgedistill.backends.coreml.adapter", "coremltools", on_device=False, title="Core ML")
# Torch, which computes, is tried elsewhere. Told that what it can convert from is not there, coremltools does not import it, which would
# take most of the time.
_PROBE = (
    "import sys; sys.modules.update(dict.fromkeys(('sklearn', 'executorch', 'torch', 'torchvision', 'torchao'))); "
    "import coremltools.converters.mil.frontend.milproto.load; answer = {'coremltools': coremltools.__version__}"
)
_FLOAT64 = Adapter(
    "edgedistill.backends.coreml.mil.float64",
    "coremltools",
    executed_by="mil_float64",
    on_device=False,
    float16=False,
    title="Core ML program executor",
    probe=_PROBE,
)
# Rounds after each operation, so that what overflows on a phone does so here.
_FLOAT16 = replace(_FLOAT64, module="edgedistill.backends.coreml.mil.float16", executed_by="mil_float16", float16=True)

_MARKER = "Manifest.json"
_NEWER = {"ios": "18", "macos": "15"}


def _matches(path: Path, head: bytes) -> bool:
    return path.is_dir() and (path / _MARKER).is_file()


COREML = Backend(
    format="coreml",
    title="Core ML",
    suffix=".mlpackage",
    lower="edgedistill.backends.coreml.lower",
    inspect="edgedistill.backends.coreml.inspect",
    delegation="edgedistill.backends.coreml.delegation",
    matches=_matches,
    marker=_MARKER,
    precisions=("int8", "fp16", *STATIC, "int8-weights", "int4-weights", "palette4"),
    twin="fp16",
    inputs=("float32-nchw", "image"),
    adapters=(_MAC,) if platform.system() == "Darwin" else (_FLOAT64, _FLOAT16),
    refusals={
        "int16x8": "Core ML quantizes activations to 8 bits only; take int8-weights",
        "int8-dynamic": f"{_DYNAMIC}; take int8-weights",
        "int4-dynamic": f"{_DYNAMIC}; take int4-weights",
        "uint8-nhwc": "a Core ML program has no input of bytes but an image; take image",
    },
    packages=("coremltools", "torch"),
    glue={"swift": Glue("coreML")},
    minimum_os={"ios": "17", "macos": "14"},
    newer_os={"int4-weights": _NEWER},
    stateful_os=_NEWER,
    state="inside",
    integer_kernels=False,
    stored_types={"int64": "int32", "int16": "int32", "int8": "int32", "uint8": "int32"},
    refused_types={
        "float64": "Core ML takes float16, float32 and int32; let the module take float32",
        "bool": "Core ML takes float16, float32 and int32; let the module take and give int32",
        "uint16": "Core ML takes float16, float32 and int32; let the module take int32",
    },
    refused_operators={
        "adaptive_avg_pool3d": "coremltools cannot convert it; take a mean over the last three dimensions",
    },
    ranges="edgedistill.backends.coreml.ranges",
    doctor="edgedistill.backends.coreml.doctor",
)
