"""Operators of MIL against what coremltools computes when it folds constants: its own `value_inference`, operator by operator."""

from typing import Any

import numpy as np
import pytest

from edgedistill.backends.coreml.mil import program as mil_program
from edgedistill.backends.coreml.mil.ops import OPERATORS
from edgedistill.backends.coreml.mil.values import to_tensor

X = np.array([[-2.5, -1.5, -0.5], [0.0, 0.5, 1.5], [2.5, 3.25, 7.0]], np.float32)
INSIDE = np.array([-0.9, -0.25, 0.0, 0.5, 0.75], np.float32)
POSITIVE = np.array([0.25, 1.0, 2.5, 30.0], np.float32)
Y = np.array([2.0, -1.5, 0.75], np.float32)
A, B = np.array([True, True, False, False]), np.array([True, False, True, False])
WHOLE = np.array([[3, -1, 2], [0, 5, -4]], np.int32)

CASES: dict[str, list[dict[str, Any]]] = {
    **{
        name: [{"x": X}]
        for name in ("abs", "ceil", "cos", "erf", "exp", "exp2", "floor", "identity", "round", "sign", "sin", "square", "tanh")
    },
    **{name: [{"x": X}] for name in ("relu", "relu6", "sigmoid", "softplus", "softsign", "atan", "cosh", "sinh", "tan")},
    **{name: [{"x": INSIDE}] for name in ("acos", "asin", "atanh")},
    **{name: [{"x": POSITIVE}, {"x": POSITIVE, "epsilon": np.float32(0.5)}] for name in ("log", "rsqrt", "inverse")},
    "sqrt": [{"x": POSITIVE}],
    **{name: [{"x": X, "y": Y}] for name in ("add", "sub", "mul", "real_div", "floor_div", "mod", "maximum", "minimum")},
    **{name: [{"x": X, "y": Y[::-1].copy()}] for name in ("equal", "not_equal", "greater", "greater_equal", "less", "less_equal")},
    **{name: [{"x": A, "y": B}] for name in ("logical_and", "logical_or", "logical_xor")},
    "logical_not": [{"x": A}],
    "pow": [{"x": POSITIVE, "y": np.float32(-1.5)}, {"x": X, "y": np.float32(3)}],
    "select": [{"cond": A, "a": POSITIVE, "b": -POSITIVE}],
    "clip": [{"x": X, "alpha": np.float32(-1), "beta": np.float32(2)}],
    "threshold": [{"x": X, "alpha": np.float32(0.25)}],
    "thresholded_relu": [{"x": X, "alpha": np.float32(0.5)}],
    "cast": [{"x": X, "dtype": kind} for kind in ("int32", "bool", "fp32")] + [{"x": A, "dtype": "fp32"}],
    "reduce_sum_square": [{"x": X, "axes": [0]}, {"x": X, "axes": [1], "keep_dims": True}],
    "reduce_argmax": [{"x": X, "axis": 0}],
    "non_zero": [{"x": WHOLE}],
    "range_1d": [{"start": np.int32(2), "end": np.int32(9), "step": np.int32(3)}],
    "shape": [{"x": X}],
    "band_part": [{"x": X, "lower": np.int32(0), "upper": np.int32(-1)}, {"x": X, "lower": np.int32(-1), "upper": np.int32(1)}],
    "fill": [{"shape": [2, 3], "value": np.float32(1.5)}],
    "flatten2d": [{"x": X.reshape(3, 1, 3), "axis": 2}],
}
"""The arguments of each operator, all constants. Numbers in the middle of two whole ones show how ties are rounded."""


@pytest.mark.parametrize("operator", sorted(CASES))
def test_constants_are_folded_to_what_is_executed(operator: str) -> None:
    mil_program.prepare(1)
    import coremltools as ct
    from coremltools.converters.mil.mil import Builder, Function

    for arguments in CASES[operator]:
        with Function({}, opset_version=ct.target.iOS17):
            folded = getattr(Builder, operator)(**arguments)
        assert folded.val is not None, "coremltools does not fold it"
        found = OPERATORS[operator](**{name: to_tensor(value) for name, value in arguments.items()}).double().numpy()
        np.testing.assert_allclose(found, np.asarray(folded.val, np.float64), rtol=2e-6, atol=2e-6, err_msg=f"{operator} {arguments}")
