"""Every operator of MIL that can be executed, by its name: each takes the arguments that the specification names.

Numbers are float64 tensors, booleans boolean ones; an operator with several results gives a tuple.
"""

from edgedistill.verify.mil_conv import CONV
from edgedistill.verify.mil_elementwise import ELEMENTWISE
from edgedistill.verify.mil_linear import LINEAR
from edgedistill.verify.mil_quantized import QUANTIZED
from edgedistill.verify.mil_resize import RESIZE
from edgedistill.verify.mil_shapes import SHAPES
from edgedistill.verify.mil_values import Operator

STATE: dict[str, Operator] = {
    "coreml_update_state": lambda state, value: value,
    "read_state": lambda input: input,
}
OPERATORS: dict[str, Operator] = {**ELEMENTWISE, **CONV, **LINEAR, **SHAPES, **RESIZE, **QUANTIZED, **STATE}
MOVERS = frozenset(SHAPES) | frozenset(STATE) | {"cast", "identity"}
"""Operators whose results are values that another operator computed."""
