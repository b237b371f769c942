"""Core ML: an .mlpackage with an ML program. On a Mac Core ML runs it; elsewhere `mil` executes it operator by operator."""

import platform

from edgedistill.backends.base import Adapter, Backend

_DYNAMIC = "Core ML has no operator that quantizes activations by their range at run time"
_MAC = Adapter("edgedistill.backends.coreml.adapter", "coremltools", on_device=False)
_FLOAT64 = Adapter("edgedistill.backends.coreml.mil.float64", "coremltools", executed_by="mil_float64", on_device=False)
_FLOAT16 = Adapter("edgedistill.backends.coreml.mil.float16", "coremltools", executed_by="mil_float16", on_device=False)

COREML = Backend(
    format="coreml",
    title="Core ML",
    suffix=".mlpackage",
    lower="edgedistill.backends.coreml.lower",
    inspect="edgedistill.backends.coreml.inspect",
    delegation="edgedistill.backends.coreml.delegation",
    precisions=("int8", "fp16", "int8-static", "int8-weights", "int4-weights", "palette4"),
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
    minimum_os={"ios": "17"},
    integer_kernels=False,
)
