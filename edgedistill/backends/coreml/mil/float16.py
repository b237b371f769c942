"""Executes a Core ML program as `mil` does, and rounds every result that the file declares as float16 to float16.

It finds what a float64 run hides: a value past 65504 becomes infinite, one below 6e-8 becomes zero. Within an operation it
still computes in float64: a sum that overflows on the way, or that hardware rounds more often, is not seen.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from edgedistill.backends.coreml.mil import float64 as mil
from edgedistill.backends.coreml.mil import program as mil_program
from edgedistill.backends.coreml.mil.float64 import prepare, versions
from edgedistill.backends.coreml.mil.program import After, Step, Value
from edgedistill.backends.coreml.mil.values import Tensor
from edgedistill.measure.runner.naming import Signature
from edgedistill.measure.runner.samples import Forward

__all__ = ["FLOAT16_MAX", "Overflow", "Watch", "load", "load_watched", "prepare", "versions"]

FLOAT16_MAX = 65504.0
"""The largest finite float16."""


@dataclass(frozen=True)
class Overflow:
    """An operation that gave infinite or undefined float16 values from finite ones."""

    name: str
    operator: str
    largest: float
    """The largest finite magnitude of its results before they were rounded."""
    lost: int
    """How many of its results became infinite or NaN."""

    def __str__(self) -> str:
        return (
            f"{self.name} ({self.operator}) overflowed float16: {self.lost} value(s) are infinite or NaN, "
            f"the largest finite one was {self.largest:.6g} and float16 ends at {FLOAT16_MAX:g}"
        )


@dataclass
class Watch:
    """What a program has met so far: the first operation that overflowed, in the order of the program and of the calls."""

    overflow: Overflow | None = None
    on_overflow: Callable[[Overflow], None] | None = field(default=None, repr=False)


def load(path: str, threads: int, signature: Signature | None = None) -> Forward:
    """What `mil.load` gives, computed in float16 where the file says so.

    The first overflow is a RuntimeWarning that names the operation. Raises ValueError as `mil.load` does.
    """
    watch = Watch(on_overflow=lambda overflow: warnings.warn(f"{path}: {overflow}", RuntimeWarning, stacklevel=2))
    return load_watched(path, watch, signature)


def load_watched(path: str, watch: Watch, signature: Signature | None = None) -> Forward:
    """As `load`; the first overflow is noted in `watch` and not warned of."""
    after = _rounding(watch)
    return mil.forward(mil_program.read(path, after), signature, after)


def _rounding(watch: Watch) -> After:
    def after(step: Step, arguments: Mapping[str, Value], results: list[Tensor]) -> list[Tensor]:
        rounded = [_rounded(r) if kind == "fp16" else r for r, kind in zip(results, step.types, strict=True)]
        if watch.overflow is None and (overflow := _overflow(step, arguments, results, rounded)):
            watch.overflow = overflow
            if watch.on_overflow:
                watch.on_overflow(overflow)
        return rounded

    return after


def _rounded(x: Tensor) -> Tensor:
    # By numpy: torch rounds to float32 first, and a value that this puts in the middle of two is rounded twice.
    with np.errstate(over="ignore"):
        return torch.from_numpy(x.numpy().astype(np.float16).astype(np.float64))


def _overflow(step: Step, arguments: Mapping[str, Value], results: list[Tensor], rounded: list[Tensor]) -> Overflow | None:
    for result, value, kind in zip(results, rounded, step.types, strict=True):
        # The sum is finite only if every value is, and takes a tenth of the time of asking each.
        if kind == "fp16" and not torch.isfinite(value.sum()) and all_finite(arguments):
            lost = int((~torch.isfinite(value)).sum())
            if lost:
                return Overflow(step.name, step.operator, largest(result), lost)
    return None


def all_finite(arguments: Mapping[str, Value]) -> bool:
    """Whether no argument holds an infinite or undefined number, as a mask does and what was computed from an overflow."""
    values = [item for argument in arguments.values() for item in (argument if isinstance(argument, list) else [argument])]
    return all(bool(torch.isfinite(value).all()) for value in values if isinstance(value, Tensor))


def largest(x: Tensor) -> float:
    """The largest finite magnitude of `x`, 0 where there is none."""
    return float(torch.nan_to_num(x, nan=0.0, posinf=0.0, neginf=0.0).abs().max()) if x.numel() else 0.0
