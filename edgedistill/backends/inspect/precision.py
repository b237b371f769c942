"""What an inspected file computes in."""

import re

from edgedistill.records.inspection import Content

_QUANTIZED = {"int8", "uint8"}


def precision_of(content: Content) -> str:
    """What a file computes in, by its weights and activations: int8, fp16, fp32 or mixed.

    int8 has activations of 8 bits. Integer weights with other activations (weight-only, palettized, 16x8) are mixed: they are
    neither program of a run.
    """
    if _QUANTIZED & content.activations.keys():
        return "int8"
    # Shapes and axes are integers too, of 32 and 64 bits; some formats keep a palette's indices, or a block's steps, as a few bits.
    if any(re.fullmatch(r"u?int[1-8]", kind) for kind in content.weights):
        return "mixed"
    return "fp16" if has_float16(content) else "fp32"


def has_float16(content: Content) -> bool:
    """Whether the file has weights or activations of float16."""
    return "float16" in content.weights or "float16" in content.activations
