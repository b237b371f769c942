"""Which precisions exist in which format, and why the others do not. Free of torch: recipes are checked with it."""

from typing import Literal

Precision = Literal[
    "int8", "int16x8", "fp16", "fp32", "int8-static", "int8-weights", "int4-weights", "palette4", "int8-dynamic", "int4-dynamic"
]  # fmt: skip

FLOAT = {"executorch": "fp32", "coreml": "fp16", "onnx": "fp32", "ort": "fp32", "litert": "fp32"}
"""The floating-point precision of each format: its twin of every quantized file."""

_POST_TRAINING = {
    "executorch": ("int8-static", "int8-dynamic", "int4-dynamic"),
    "coreml": ("int8-static", "int8-weights", "int4-weights", "palette4"),
    "onnx": ("int8-static", "int16x8", "int8-weights", "int4-weights", "int8-dynamic"),
    "ort": ("int8-static", "int8-weights", "int8-dynamic"),
    "litert": ("int8-static", "int16x8", "int8-weights", "int8-dynamic", "int4-dynamic"),
}
PRECISIONS = {format_: ("int8", found, *_POST_TRAINING[format_]) for format_, found in FLOAT.items()}
"""What each format can hold."""

DELEGATES = {"coreml": ("int8", "fp16", "int8-static"), "vulkan": ("int8", "fp16", "fp32", "int8-static")}
"""What a .pte can hold for another delegate than XNNPACK."""

_DROPPED = "XNNPACK's lowering drops the scales of weight-only integers without a word, and the file computes with the bare integers"
_TABLES = "only Core ML unpacks weights from a table of values"
_PACKAGE = "ExecuTorch's lowering to Core ML would put weights on a grid of its own"
_GPU = "ExecuTorch's operators for Vulkan take such weights in linear layers only"
_DYNAMIC = "Core ML has no operator that quantizes activations by their range at run time"
_NO_PRODUCT = "ONNX has no product of 8-bit activations and 4-bit weights"
WHY_NOT = {
    ("executorch", "int16x8"): "XNNPACK has no kernels with 16-bit activations; take int8 or int8-dynamic",
    ("coreml", "int16x8"): "Core ML quantizes activations to 8 bits only; take int8-weights",
    ("ort", "int16x8"): "ONNX Runtime has no kernels with 16-bit activations and computes in float, slower than fp32; take int8",
    ("executorch", "int8-weights"): f"{_DROPPED}; take int8-dynamic",
    ("executorch", "int4-weights"): f"{_DROPPED}; take int4-dynamic",
    ("executorch", "palette4"): f"{_TABLES}; take int4-dynamic",
    ("onnx", "palette4"): f"{_TABLES}; take int4-weights",
    ("ort", "palette4"): f"{_TABLES}; take int8-weights",
    ("litert", "palette4"): f"{_TABLES}; take int8-weights",
    ("coreml", "int8-dynamic"): f"{_DYNAMIC}; take int8-weights",
    ("coreml", "int4-dynamic"): f"{_DYNAMIC}; take int4-weights",
    ("onnx", "int4-dynamic"): f"{_NO_PRODUCT}; take int8-dynamic or int4-weights",
    ("ort", "int4-dynamic"): f"{_NO_PRODUCT}; take int8-dynamic",
    ("ort", "int4-weights"): "the tool that lists the operators and types for a minimal build knows no type of 4 bits; take int8-weights",
    ("litert", "int4-weights"): "LiteRT unpacks weights of 4 bits by channel only, not in blocks; take int8-weights or int4-dynamic",
}
"""Combinations that are refused although both sides exist, and what to take instead."""

WHY_NOT_DELEGATED = {
    ("coreml", "fp32"): "the Neural Engine computes in float16 only; take fp16",
    ("coreml", "int8-dynamic"): f"{_DYNAMIC}; take int8",
    ("coreml", "int4-dynamic"): f"{_DYNAMIC}; take int8",
    **{("coreml", precision): f"{_PACKAGE}; take format coreml" for precision in ("int8-weights", "int4-weights", "palette4")},
    ("vulkan", "palette4"): f"{_TABLES}; take int8",
    **{(delegate, "int16x8"): "ExecuTorch lowers no activations of 16 bits to it; take int8" for delegate in DELEGATES},
    **{("vulkan", precision): f"{_GPU}; take int8" for precision in ("int8-weights", "int4-weights", "int8-dynamic", "int4-dynamic")},
}
"""The same of delegates inside a .pte."""


def refusal(format_: str, precision: str, delegate: str | None = None) -> str | None:
    """What was expected instead of `precision` in `format_`, for its `delegate` where that is not XNNPACK, or None where it exists."""
    if delegate:
        return _undelegated(format_, precision, delegate)
    if precision in PRECISIONS[format_]:
        return None
    expected = f"{', '.join(PRECISIONS[format_][:-1])} or {PRECISIONS[format_][-1]} for {format_}"
    why = WHY_NOT.get((format_, precision))
    return f"{expected}: {why}" if why else expected


def _undelegated(format_: str, precision: str, delegate: str) -> str | None:
    if format_ != "executorch":
        return f"no delegate {delegate} in {format_}, since only a .pte of executorch names one"
    if precision in DELEGATES[delegate]:
        return None
    *others, last = DELEGATES[delegate]
    return f"{', '.join(others)} or {last} for executorch with delegate {delegate}: {WHY_NOT_DELEGATED[delegate, precision]}"


NEEDS = {
    "coreml": "ExecuTorch's Core ML delegate runs on an iPhone, iPad or Mac only: check it there, "
    "with the bundle's golden images and outputs",
    "vulkan": "ExecuTorch's Vulkan delegate is not in its Python package and needs a GPU's driver: check it on the phone, in the app or "
    "by executor_runner built with Vulkan, with the bundle's golden images and the outputs of a file for XNNPACK",
}
"""What running a .pte of a delegate takes, and how to check it there."""


def is_core_ml(format_: str, delegate: str | None) -> bool:
    """Whether Core ML computes the artifact, from a package or from inside a .pte: in floating point, whatever its precision."""
    return format_ == "coreml" or delegate == "coreml"


def is_float(precision: object) -> bool:
    """Whether `precision` is that of a floating-point twin."""
    return precision in FLOAT.values()


def is_static(precision: str) -> bool:
    """Whether weights and activations are int8, with ranges that were settled before: in training, or by calibration behind it."""
    return precision in ("int8", "int8-static")


def is_wide(precision: str) -> bool:
    """Whether activations are int16, with scales that calibration settled, and weights int8."""
    return precision == "int16x8"


def is_integer(precision: str) -> bool:
    """Whether weights and activations are integers whose scales were settled before."""
    return is_static(precision) or is_wide(precision)


def is_dynamic(precision: str) -> bool:
    """Whether the runtime quantizes activations by their range, image by image."""
    return precision.endswith("-dynamic")


def needs_program(precision: str) -> bool:
    """Whether `precision` is made from the float student after training, by a program of its own."""
    return any(precision in found for found in _POST_TRAINING.values())


def program_of(rung: str) -> str:
    """The post-training precision whose program was scored as `rung`."""
    for suffix in ("-tensors", "-converted", "-integer"):
        rung = rung.removesuffix(suffix)
    return rung
