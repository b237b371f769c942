"""What the file of each format can take, and why it cannot take the rest. Free of torch: recipes are checked with it."""

from typing import Literal

Input = Literal["float32-nchw", "uint8-nhwc", "image"]

DEFAULT: Input = "float32-nchw"
"""float32 RGB [1, 3, S, S] in 0..1. The others take the same pixels as bytes: uint8 RGB [1, S, S, 3], each of which means byte / 255."""

INPUTS: dict[str, tuple[str, str]] = {
    **{format_: (DEFAULT, "uint8-nhwc") for format_ in ("executorch", "onnx", "ort", "litert")},
    "coreml": (DEFAULT, "image"),
}
"""What each format can take."""

SUFFIXES: dict[str, str] = {DEFAULT: "", "uint8-nhwc": "-uint8", "image": "-image"}
"""What the name of a file says of its input, behind the precision."""

_NO_IMAGE = "only Core ML takes an image of the operating system; take uint8-nhwc"
WHY_NOT = {
    ("coreml", "uint8-nhwc"): "a Core ML program has no input of bytes but an image; take image",
    **{(format_, "image"): _NO_IMAGE for format_ in ("executorch", "onnx", "ort", "litert")},
}
"""Inputs that are refused although another format takes them, and what to take instead."""


def refusal(format_: str, kind: str, delegate: str | None = None) -> str | None:
    """What was expected instead of the input `kind` in `format_`, for its `delegate` if not XNNPACK, or None where it can be had."""
    if delegate and takes_bytes(kind):
        why = "ExecuTorch's own kernels make an image of bytes, beside XNNPACK only"
        return f"{DEFAULT} for executorch with delegate {delegate}: {why}; take {DEFAULT}"
    if kind in INPUTS[format_]:
        return None
    return f"{' or '.join(INPUTS[format_])} for {format_}: {WHY_NOT[format_, kind]}"


def takes_bytes(kind: str) -> bool:
    """Whether the input `kind` is uint8 [1, S, S, 3], or an image made of it."""
    return kind != DEFAULT
