"""What of a float16 .mlpackage computes in float16."""

from typing import Any

from edgedistill.export.equality import is_compared

_EQUALITIES = ("equal", "not_equal")
_WEIGHTED = ("conv", "conv_transpose", "linear", "matmul", "einsum")


def computes_in_half(operator: Any) -> bool:
    """Whether a MIL operator computes in float16: all but those between a layer with weights and a comparison, see `is_compared`."""
    return not is_compared(operator, _readers, _compares)


def _readers(operator: Any) -> list[Any]:
    return [reader for output in operator.outputs for reader in output.child_ops if reader.op_type not in _WEIGHTED]


def _compares(operator: Any) -> bool:
    return operator.op_type in _EQUALITIES and any(operator.inputs[side].is_tensor_or_scalar_of(dtype="fp32") for side in ("x", "y"))
