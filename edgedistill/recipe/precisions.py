"""Which precisions a recipe can ask for, and which of them a format has. Free of torch: recipes are checked with it."""

from typing import Literal

from edgedistill.backends import backend, backends
from edgedistill.backends.base import STATIC

Precision = Literal[
    "int8", "int16x8", "fp16", "fp32", "int8-static", "int8-equalized", "int8-corrected", "int8-rounded", "int8-tuned", "int8-weights",
    "int4-weights", "palette4", "int8-dynamic", "int4-dynamic",
]  # fmt: skip

_FLOAT = ("fp16", "fp32")


def refusal(format_: str, precision: str, delegate: str | None = None) -> str | None:
    """What was expected instead of `precision` in `format_`, for its `delegate` where that is not the default, or None where it exists."""
    own = backend(format_)
    if delegate and delegate not in own.delegates:
        formats = " or ".join(kind.format for kind in backends().values() if kind.delegates)
        return f"no delegate {delegate} in {format_}, since only a file of {formats} names one"
    facts = own.delegates[delegate] if delegate else own
    if precision in facts.precisions:
        return None
    *others, last = facts.precisions
    expected = f"{', '.join(others)} or {last} for {format_}" if others else f"{last} for {format_}"
    expected += f" with delegate {delegate}" if delegate else ""
    return f"{expected}: {facts.refusals[precision]}" if precision in facts.refusals else expected


def is_float(precision: object) -> bool:
    """Whether `precision` is that of a floating-point twin."""
    return precision in _FLOAT


def is_static(precision: str) -> bool:
    """Whether weights and activations are int8, with ranges that were settled before: in training, or by calibration behind it."""
    return precision == "int8" or precision in STATIC


def is_wide(precision: str) -> bool:
    """Whether activations are int16, with scales that calibration settled, and weights int8."""
    return precision == "int16x8"


def is_integer(precision: str) -> bool:
    """Whether weights and activations are integers whose scales were settled before."""
    return is_static(precision) or is_wide(precision)


def is_dynamic(precision: str) -> bool:
    """Whether the runtime quantizes activations by their range, image by image."""
    return precision.endswith("-dynamic")


def has_four_bits(precision: str) -> bool:
    """Whether linear layers have weights of 4 bits in blocks: what the stage qat can train them for."""
    return precision.startswith("int4-")


def bits(precision: str) -> int:
    """Bits of a weight, without its scale."""
    if is_float(precision):
        return int(precision.removeprefix("fp"))
    return 4 if has_four_bits(precision) or precision == "palette4" else 8


def needs_program(precision: str) -> bool:
    """Whether `precision` is made from float weights after training, by a program of its own."""
    return precision != "int8" and not is_float(precision)


def program_of(rung: str) -> str:
    """The post-training precision whose program was scored as `rung`."""
    for suffix in ("-tensors", "-unrounded", "-converted", "-integer"):
        rung = rung.removesuffix(suffix)
    return rung
