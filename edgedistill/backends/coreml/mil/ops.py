"""Every operator of MIL that can be executed, by its name: each takes the arguments that the specification names.

Numbers are float64 tensors, booleans boolean ones; an operator with several results gives a tuple.
"""

from edgedistill.backends.coreml.mil.convolution import CONV
from edgedistill.backends.coreml.mil.elementwise import ELEMENTWISE
from edgedistill.backends.coreml.mil.linear import LINEAR
from edgedistill.backends.coreml.mil.quantized import QUANTIZED
from edgedistill.backends.coreml.mil.resample import RESAMPLE
from edgedistill.backends.coreml.mil.resize import RESIZE
from edgedistill.backends.coreml.mil.shapes import SHAPES
from edgedistill.backends.coreml.mil.values import Operator

STATE: dict[str, Operator] = {
    "coreml_update_state": lambda state, value: value,
    "read_state": lambda input: input,
}
OPERATORS: dict[str, Operator] = {**ELEMENTWISE, **CONV, **LINEAR, **SHAPES, **RESIZE, **RESAMPLE, **QUANTIZED, **STATE}
MOVERS = frozenset(SHAPES) | frozenset(STATE) | {"cast", "identity"}
"""Operators whose results are values that another operator computed."""
