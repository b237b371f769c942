"""What an inspected file computes in."""

import re
from typing import Any

_QUANTIZED = {"int8", "uint8"}


def precision_of(facts: dict[str, Any]) -> str:
    """What a file computes in, by what `inspect` says of it: int8, fp16, fp32 or mixed.

    int8 has activations of 8 bits. Integer weights with other activations (weight-only, palettized, 16x8) are mixed: they are
    neither program of a run.
    """
    if _QUANTIZED & set(facts["activations"]):
        return "int8"
    # Shapes and axes are integers too, of 32 and 64 bits; some formats keep a palette's indices, or a block's steps, as a few bits.
    if any(re.fullmatch(r"u?int[1-8]", kind) for kind in facts["weights"]):
        return "mixed"
    return "fp16" if has_float16(facts) else "fp32"


def has_float16(facts: dict[str, Any]) -> bool:
    """Whether the file has weights or activations of float16."""
    return "float16" in facts["weights"] or "float16" in facts["activations"]
