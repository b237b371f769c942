"""Computes .toy files with numpy."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


def read(path: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The program and its tensors. Raises ValueError for another file."""
    with np.load(path) as file:
        if "program" not in file:
            raise ValueError(f"{path}: found no program in it, expected a .toy file")
        tensors = {name.removeprefix("tensor:"): file[name] for name in file.files if name != "program"}
        return json.loads(file["program"].tobytes()), tensors


def execute(program: dict[str, Any], tensors: dict[str, np.ndarray], inputs: list[np.ndarray]) -> list[np.ndarray]:
    """The outputs of the program, in its order."""
    values: dict[str, Any] = {**tensors, **{port["value"]: array for port, array in zip(program["inputs"], inputs, strict=True)}}

    def value(argument: Any) -> Any:
        if isinstance(argument, dict):
            return values[argument["of"]]
        return [value(item) for item in argument] if isinstance(argument, list) else argument

    for step in program["steps"]:
        if step["operator"] not in OPERATORS:
            raise ValueError(f"the operator {step['operator']} is not known, expected one of {', '.join(OPERATORS)}")
        arguments = {key: value(argument) for key, argument in step["kwargs"].items()}
        values[step["name"]] = OPERATORS[step["operator"]](*value(step["args"]), **arguments)
    return [values[port["value"]] for port in program["outputs"]]


def _quantize(x: np.ndarray, scale: float, zero_point: int, low: int, high: int, _: str) -> np.ndarray:
    return np.clip(np.round(x.astype(np.float64) / scale) + zero_point, low, high).astype(np.int8)


def _dequantize(x: np.ndarray, scale: float, zero_point: int, *_: Any, **__: Any) -> np.ndarray:
    return ((x.astype(np.float64) - zero_point) * scale).astype(np.float32)


def _dequantize_channels(x: np.ndarray, scales: np.ndarray, zeros: np.ndarray | None, axis: int, *_: Any, **__: Any) -> np.ndarray:
    shape = [-1 if i == axis else 1 for i in range(x.ndim)]
    shift = 0 if zeros is None else zeros.reshape(shape)
    return ((x.astype(np.float64) - shift) * scales.reshape(shape)).astype(np.float32)


def _linear(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    return (x.astype(np.float64) @ weight.T.astype(np.float64) + (0 if bias is None else bias)).astype(np.float32)


def _conv1d(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    stride: Sequence[int] = (1,),
    padding: Sequence[int] = (0,),
    *_: Any,
) -> np.ndarray:
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (padding[0], padding[0])))
    windows = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[2], axis=2)[:, :, :: stride[0]]
    total = np.einsum("bctk,ock->bot", windows, weight.astype(np.float64))
    return (total + (0 if bias is None else bias[:, None])).astype(np.float32)


def _mean(x: np.ndarray, dims: list[int], keepdim: bool = False) -> np.ndarray:
    return x.mean(axis=tuple(dims), keepdims=keepdim, dtype=np.float64).astype(np.float32)


OPERATORS: dict[str, Callable[..., Any]] = {
    "quantized_decomposed.quantize_per_tensor.default": _quantize,
    "quantized_decomposed.dequantize_per_tensor.default": _dequantize,
    "quantized_decomposed.dequantize_per_channel.default": _dequantize_channels,
    "aten.linear.default": _linear,
    "aten.conv1d.default": _conv1d,
    "aten.mean.dim": _mean,
    "aten.relu.default": lambda x: np.maximum(x, 0),
    "aten.relu_.default": lambda x: np.maximum(x, 0),
    "aten.add.Tensor": lambda a, b: a + b,
    "aten.cat.default": lambda parts, dim=0: np.concatenate(parts, dim),
    "aten.transpose.int": np.swapaxes,
    "aten.flatten.using_ints": lambda x, start=0, end=-1: x.reshape(*x.shape[:start], -1),
}
