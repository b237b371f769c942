"""ONNX for ONNX Runtime: .onnx, and .ort as its builds for phones load it."""

from dataclasses import replace

from edgedistill.backends.base import Adapter, Backend

_TABLES = "only Core ML unpacks weights from a table of values"
_NO_PRODUCT = "ONNX has no product of 8-bit activations and 4-bit weights"
_NO_IMAGE = "only Core ML takes an image of the operating system; take uint8-nhwc"

ONNX = Backend(
    format="onnx",
    title="ONNX",
    suffix=".onnx",
    lower="edgedistill.backends.onnx.lower",
    inspect="edgedistill.backends.onnx.inspect",
    delegation="edgedistill.backends.onnx.delegation",
    precisions=("int8", "fp32", "int8-static", "int16x8", "int8-weights", "int4-weights", "int8-dynamic"),
    twin="fp32",
    inputs=("float32-nchw", "uint8-nhwc"),
    adapters=(Adapter("edgedistill.backends.onnx.adapter", "onnxruntime", in_kit=True),),
    refusals={
        "palette4": f"{_TABLES}; take int4-weights",
        "int4-dynamic": f"{_NO_PRODUCT}; take int8-dynamic or int4-weights",
        "image": _NO_IMAGE,
    },
    packages=("onnx", "onnxscript", "onnxruntime", "torch"),
    minimum_os={"android": "8.0 (API 26)", "ios": "17"},
    dynamic_by_tensor=True,
)

ORT = replace(
    ONNX,
    format="ort",
    title="ORT",
    suffix=".ort",
    lower="edgedistill.backends.onnx.ort_lower",
    inspect="edgedistill.backends.onnx.ort_inspect",
    delegation="edgedistill.backends.onnx.ort_delegation",
    precisions=("int8", "fp32", "int8-static", "int8-weights", "int8-dynamic"),
    refusals={
        "int16x8": "ONNX Runtime has no kernels with 16-bit activations and computes in float, slower than fp32; take int8",
        "palette4": f"{_TABLES}; take int8-weights",
        "int4-dynamic": f"{_NO_PRODUCT}; take int8-dynamic",
        "int4-weights": "the tool that lists the operators and types for a minimal build knows no type of 4 bits; take int8-weights",
        "image": _NO_IMAGE,
    },
)
