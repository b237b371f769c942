"""ONNX for ONNX Runtime: .onnx, and .ort as its builds for phones load it."""

from dataclasses import replace
from pathlib import Path

from edgedistill.backends.base import STATIC, Adapter, Backend, Glue

_TABLES = "only Core ML unpacks weights from a table of values"
_NO_PRODUCT = "ONNX has no product of 8-bit activations and 4-bit weights"
_NO_IMAGE = "only Core ML takes an image of the operating system; take uint8-nhwc"
_NO_INTEGER = "ONNX Runtime has no integer kernel for it on the CPU, and computes it in float"
_NOT_FUSED = "ONNX Runtime fuses it only between quantized values; here an input or the output is float"


def _is_onnx(path: Path, head: bytes) -> bool:
    from edgedistill.backends import of_suffix

    # There is no identifier. Writers begin with field 1, the version of the representation, a small number.
    return of_suffix(path) in (None, ONNX) and head[:1] == b"\x08" and 0 < int.from_bytes(head[1:2]) < 0x20


def _is_ort(path: Path, head: bytes) -> bool:
    # A flatbuffer has its identifier behind the offset of the root table.
    return head[4:8] == b"ORTM"


ONNX = Backend(
    format="onnx",
    title="ONNX",
    suffix=".onnx",
    lower="edgedistill.backends.onnx.lower",
    inspect="edgedistill.backends.onnx.inspect",
    delegation="edgedistill.backends.onnx.delegation",
    matches=_is_onnx,
    identified=False,
    holds_teachers=True,
    precisions=("int8", "fp32", *STATIC, "int16x8", "int8-weights", "int4-weights", "int8-dynamic"),
    twin="fp32",
    inputs=("float32-nchw", "uint8-nhwc"),
    adapters=(Adapter("edgedistill.backends.onnx.adapter", "onnxruntime", in_kit=True, title="ONNX Runtime"),),
    refusals={
        "palette4": f"{_TABLES}; take int4-weights",
        "int4-dynamic": f"{_NO_PRODUCT}; take int8-dynamic or int4-weights",
        "image": _NO_IMAGE,
    },
    packages=("onnx", "onnxscript", "onnxruntime", "torch"),
    # Version 10 of the representation came with onnx 1.16: https://onnxruntime.ai/docs/reference/compatibility.html
    minimum_runtime=lambda made: {"onnxruntime": "1.18"},
    glue={
        "python": Glue("onnx_runtime", ("onnxruntime>=1.18",)),
        # From 1.27 on, at the latest, its libraries are aligned to pages of 16 KB.
        "kotlin": Glue(
            "OnnxRuntime()", ("com.microsoft.onnxruntime:onnxruntime-android:1.27.0",), ("-keep class ai.onnxruntime.** { *; }",)
        ),
        "typescript": Glue("onnx", ('"onnxruntime-common": ">=1.18"',), ("onnxruntime-web/wasm", "onnxruntime-node")),
    },
    minimum_os={"android": "8.0 (API 26)", "ios": "17"},
    dynamic_by_tensor=True,
    state="outside",
    varying_shapes=True,
    reasons={
        **dict.fromkeys(("ReduceMean", "Div", "LayerNormalization", "HardSigmoid", "Gelu", "Erf", "Tanh", "Pow"), _NO_INTEGER),
        **dict.fromkeys(("Conv", "Gemm", "MatMul", "Add", "Mul", "Softmax", "Sigmoid"), _NOT_FUSED),
    },
)

ORT = replace(
    ONNX,
    format="ort",
    title="ORT",
    suffix=".ort",
    lower="edgedistill.backends.onnx.ort_lower",
    inspect="edgedistill.backends.onnx.ort_inspect",
    delegation="edgedistill.backends.onnx.ort_delegation",
    matches=_is_ort,
    identified=True,
    holds_teachers=False,
    precisions=("int8", "fp32", *STATIC, "int8-weights", "int8-dynamic"),
    refusals={
        "int16x8": "ONNX Runtime has no kernels with 16-bit activations and computes in float, slower than fp32; take int8",
        "palette4": f"{_TABLES}; take int8-weights",
        "int4-dynamic": f"{_NO_PRODUCT}; take int8-dynamic",
        "int4-weights": "the tool that lists the operators and types for a minimal build knows no type of 4 bits; take int8-weights",
        "image": _NO_IMAGE,
    },
    companions="edgedistill.backends.onnx.ort_operators",
    # A file may hold optimizations that an older version than the one which wrote it does not know.
    minimum_runtime=lambda made: {"onnxruntime": made["onnxruntime"]} if "onnxruntime" in made else {},
)
