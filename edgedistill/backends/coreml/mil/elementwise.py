"""MIL operators that compute each element on its own: arithmetic, comparisons, logic, casts and activations."""

from typing import Any

import torch
from torch.nn import functional as F

from edgedistill.backends.coreml.mil.values import Operator, Tensor, channelwise, of_x, of_xy


def _cast(x: Tensor, dtype: Any) -> Tensor:
    if dtype == "bool":
        return x != 0
    # A cast between float types changes nothing in float64; one to whole numbers cuts off the fraction.
    return x.double() if dtype in ("fp16", "fp32") else torch.trunc(x.double())


def _gelu(x: Tensor, mode: Any = "EXACT") -> Tensor:
    if mode == "SIGMOID_APPROXIMATION":
        return x * torch.sigmoid(1.702 * x)
    return F.gelu(x, approximate="tanh" if mode == "TANH_APPROXIMATION" else "none")


def _clamped_relu(x: Tensor, alpha: Any, beta: Any) -> Tensor:
    return torch.where(x >= 0, x, x * alpha).clamp(max=float(beta))


def _softplus(x: Tensor) -> Tensor:
    # F.softplus is the identity above 20.
    return torch.logaddexp(x, torch.zeros_like(x))


def _softplus_parametric(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    return channelwise(alpha, x, 1) * _softplus(channelwise(beta, x, 1) * x)


def _prelu(x: Tensor, alpha: Tensor) -> Tensor:
    return torch.where(x > 0, x, channelwise(alpha, x, 1) * x)


ELEMENTWISE: dict[str, Operator] = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "real_div": lambda x, y: x / y,
    "floor_div": of_xy(torch.floor_divide),
    # Like Python's, the result has the sign of y.
    "mod": of_xy(torch.remainder),
    "pow": of_xy(torch.pow),
    "maximum": of_xy(torch.maximum),
    "minimum": of_xy(torch.minimum),
    "equal": lambda x, y: x == y,
    "not_equal": lambda x, y: x != y,
    "greater": lambda x, y: x > y,
    "greater_equal": lambda x, y: x >= y,
    "less": lambda x, y: x < y,
    "less_equal": lambda x, y: x <= y,
    "logical_and": of_xy(torch.logical_and),
    "logical_or": of_xy(torch.logical_or),
    "logical_xor": of_xy(torch.logical_xor),
    "logical_not": of_x(torch.logical_not),
    "select": lambda cond, a, b: torch.where(cond != 0, a, b),
    "abs": of_x(torch.abs),
    "acos": of_x(torch.acos),
    "asin": of_x(torch.asin),
    "atan": of_x(torch.atan),
    "atanh": of_x(torch.atanh),
    "ceil": of_x(torch.ceil),
    "cos": of_x(torch.cos),
    "cosh": of_x(torch.cosh),
    "erf": of_x(torch.erf),
    "exp": of_x(torch.exp),
    "exp2": of_x(torch.exp2),
    "floor": of_x(torch.floor),
    "inverse": lambda x, epsilon=1e-4: 1 / (x + epsilon),
    "log": lambda x, epsilon=1e-45: torch.log(x + epsilon),
    # Half to even, as numpy's, with which coremltools folds constants.
    "round": of_x(torch.round),
    "rsqrt": lambda x, epsilon=1e-12: torch.rsqrt(x + epsilon),
    "sign": of_x(torch.sign),
    "sin": of_x(torch.sin),
    "sinh": of_x(torch.sinh),
    "sqrt": of_x(torch.sqrt),
    "square": of_x(torch.square),
    "tan": of_x(torch.tan),
    "tanh": of_x(torch.tanh),
    "threshold": lambda x, alpha: x.clamp(min=float(alpha)),
    "cast": _cast,
    "clip": lambda x, alpha, beta: x.clamp(float(alpha), float(beta)),
    "identity": lambda x: x,
    "clamped_relu": _clamped_relu,
    "elu": lambda x, alpha=1.0: torch.where(x > 0, x, alpha * torch.expm1(x)),
    "gelu": _gelu,
    "leaky_relu": lambda x, alpha=0.01: torch.where(x >= 0, x, alpha * x),
    "linear_activation": lambda x, alpha=1.0, beta=0.0: alpha * x + beta,
    "prelu": _prelu,
    "relu": of_x(F.relu),
    "relu6": of_x(F.relu6),
    "scaled_tanh": lambda x, alpha=1.0, beta=1.0: alpha * torch.tanh(beta * x),
    "sigmoid": of_x(torch.sigmoid),
    "sigmoid_hard": lambda x, alpha=0.2, beta=0.5: (x * float(alpha) + float(beta)).clamp(0, 1),
    "silu": of_x(F.silu),
    "softmax": lambda x, axis=-1: torch.softmax(x, int(axis)),
    "softplus": _softplus,
    "softplus_parametric": _softplus_parametric,
    "softsign": of_x(F.softsign),
    "thresholded_relu": lambda x, alpha=1.0: torch.where(x >= alpha, x, torch.zeros_like(x)),
}
