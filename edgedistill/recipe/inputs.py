"""What a file can take, and why it cannot take the rest. Free of torch: recipes are checked with it."""

from typing import Literal

from edgedistill.backends import backend

Input = Literal["float32-nchw", "uint8-nhwc", "image"]

DEFAULT: Input = "float32-nchw"
"""float32 RGB [1, 3, S, S] in 0..1. The others take the same pixels as bytes: uint8 RGB [1, S, S, 3], each of which means byte / 255."""

SUFFIXES: dict[str, str] = {DEFAULT: "", "uint8-nhwc": "-uint8", "image": "-image"}
"""What the name of a file says of its input, behind the precision."""


def refusal(format_: str, kind: str, delegate: str | None = None) -> str | None:
    """What was expected instead of the input `kind` in `format_`, for its `delegate` if not the default, or None where it can be had."""
    own = backend(format_)
    facts = own.delegates[delegate] if delegate else own
    if kind in facts.inputs:
        return None
    expected = f"{' or '.join(facts.inputs)} for {format_}{f' with delegate {delegate}' if delegate else ''}"
    return f"{expected}: {facts.refusals[kind]}" if kind in facts.refusals else expected


def takes_bytes(kind: str) -> bool:
    """Whether the input `kind` is uint8 [1, S, S, 3], or an image made of it."""
    return kind != DEFAULT
