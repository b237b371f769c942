"""What of a float16 .mlpackage computes in float32."""

from typing import Any

_EQUALITIES = ("equal", "not_equal")
_WEIGHTED = ("conv", "conv_transpose", "linear", "matmul", "einsum")


def computes_in_half(operator: Any) -> bool:
    """Whether a MIL operator computes in float16: all but those between a layer with weights and a comparison for equality.

    Values that differ in float32 are often equal in float16. A gate of the local maxima, x == max_pool(x), would then let through two
    values where the program has one.
    """
    behind, seen = [operator], {operator}
    while behind:
        reached = behind.pop()
        if _compares(reached):
            return False
        readers = {reader for output in reached.outputs for reader in output.child_ops if reader.op_type not in _WEIGHTED} - seen
        behind += readers
        seen |= readers
    return True


def _compares(operator: Any) -> bool:
    return operator.op_type in _EQUALITIES and any(operator.inputs[side].is_tensor_or_scalar_of(dtype="fp32") for side in ("x", "y"))
