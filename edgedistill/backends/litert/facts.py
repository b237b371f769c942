"""LiteRT, formerly TensorFlow Lite: a .tflite, computed by XNNPACK where it can."""

from pathlib import Path

from edgedistill.backends.base import STATIC, Adapter, Backend, Glue


def _matches(path: Path, head: bytes) -> bool:
    # A flatbuffer has its identifier behind the offset of the root table.
    return head[4:8] == b"TFL3"


LITERT = Backend(
    format="litert",
    title="LiteRT",
    suffix=".tflite",
    lower="edgedistill.backends.litert.lower",
    inspect="edgedistill.backends.litert.inspect",
    delegation="edgedistill.backends.litert.delegation",
    matches=_matches,
    precisions=("int8", "fp32", *STATIC, "int16x8", "int8-weights", "int8-dynamic", "int4-dynamic"),
    twin="fp32",
    inputs=("float32-nchw", "uint8-nhwc"),
    adapters=(
        Adapter("edgedistill.backends.litert.adapter", "ai-edge-litert", in_kit=True),
        Adapter("edgedistill.backends.litert.adapter_tflite_runtime", "tflite-runtime"),
    ),
    refusals={
        "palette4": "only Core ML unpacks weights from a table of values; take int8-weights",
        "int4-weights": "LiteRT unpacks weights of 4 bits by channel only, not in blocks; take int8-weights or int4-dynamic",
        "image": "only Core ML takes an image of the operating system; take uint8-nhwc",
    },
    packages=("litert-torch", "ai-edge-litert", "ai-edge-quantizer", "torch"),
    minimum_os={"android": "8.0 (API 26)", "ios": "17"},
    # The first version under this name; a file's own `min_runtime_version`, of TensorFlow Lite, is lower.
    minimum_runtime=lambda made: {"litert": "1.0"},
    glue={
        "python": Glue("litert", ("ai-edge-litert>=1.0",)),
        # The first version whose libraries are aligned to pages of 16 KB.
        "kotlin": Glue('LiteRt(version = "1.4.0")', ("com.google.ai.edge.litert:litert:1.4.0",)),
    },
    unfolded_weights=True,
    state="outside",
    default_delegate="xnnpack",
    budgeted=True,
    planar=True,
    refused_operators={
        "sort": "LiteRT's converter makes an operator of it that its runtime has not (litert_torch 0.10); take onnx or coreml",
        "topk": "LiteRT's converter makes an operator of it that its runtime has not (litert_torch 0.10); take onnx, coreml or executorch",
        "conv_transpose3d": "LiteRT's converter makes an operator of it that its runtime has not (litert_torch 0.10); take onnx or coreml",
    },
    reasons={
        "CAST": "LiteRT's XNNPACK does not convert between types, such as bytes to float",
        "QUANTIZE": "LiteRT's XNNPACK does not take it between uint8 and int8",
        "PADV2": "LiteRT's XNNPACK pads with zero only; padding before a maximum is the smallest number",
        "HARD_SWISH": "LiteRT's XNNPACK takes it in float only; ReLU and ReLU6 are taken in int8",
        "GELU": "LiteRT's XNNPACK takes it in float only",
        "DYNAMIC_UPDATE_SLICE": "LiteRT's XNNPACK does not take it; LiteRT's own kernel writes a cache in place",
        "EMBEDDING_LOOKUP": "LiteRT's XNNPACK does not read tables",
    },
)
