"""LiteRT, formerly TensorFlow Lite: a .tflite, computed by XNNPACK where it can."""

from edgedistill.backends.base import Adapter, Backend

LITERT = Backend(
    format="litert",
    title="LiteRT",
    suffix=".tflite",
    lower="edgedistill.backends.litert.lower",
    inspect="edgedistill.backends.litert.inspect",
    delegation="edgedistill.backends.litert.delegation",
    precisions=("int8", "fp32", "int8-static", "int16x8", "int8-weights", "int8-dynamic", "int4-dynamic"),
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
    unfolded_weights=True,
    budgeted=True,
)
