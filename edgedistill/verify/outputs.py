"""How far each output is from that of the float module: what tells where nothing can be scored."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from edgedistill.errors import UserError
from edgedistill.records import OutputError


def compare(outputs: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray]) -> dict[str, OutputError]:
    """Each of `outputs` against the one of the same name in `reference`, the outputs of the float module; rows are samples.

    Of integers and booleans the largest difference is a number of units over the range as well. Raises UserError where names or shapes are
    not the same.
    """
    if set(outputs) != set(reference):
        raise UserError(f"found the outputs {', '.join(outputs)}, expected {', '.join(reference)}")
    return {name: _compare(name, outputs[name], expected) for name, expected in reference.items()}


def _compare(name: str, values: np.ndarray, reference: np.ndarray) -> OutputError:
    if values.shape != reference.shape:
        raise UserError(f"output {name}: found the shape {list(values.shape)}, expected {list(reference.shape)}")
    actual, expected = (array.astype(np.float64).reshape(len(array), -1) for array in (values, reference))
    if not expected.size:
        raise UserError(f"output {name} has no values to compare")
    # Infinities of a mask are right where both have them.
    alike = (actual == expected) | (np.isnan(actual) & np.isnan(expected))
    broken = ~alike & ~(np.isfinite(actual) & np.isfinite(expected))
    if broken.any():
        return OutputError(
            largest=None, mean=None, range=_range(expected), worst=int(broken.any(axis=1).argmax()), snr_db=None,
            not_finite=int(broken.sum()), n=len(actual),
        )  # fmt: skip
    difference = np.zeros_like(expected)
    np.subtract(actual, expected, out=difference, where=~alike)
    difference = np.abs(difference)
    largest, span = float(difference.max()), _range(expected)
    shares = (
        {"largest": largest / span, "mean": float(difference.mean()) / span} if span else dict.fromkeys(("largest", "mean"), _none(largest))
    )
    signal, noise = (float(np.square(part[np.isfinite(expected)]).mean()) for part in (expected, difference))
    return OutputError(
        **shares, range=span, worst=int(difference.max(axis=1).argmax()) if largest else None,
        snr_db=10 * math.log10(signal / noise) if signal and noise else None, not_finite=0, n=len(actual),
    )  # fmt: skip


def _none(difference: float) -> float | None:
    """The share that a difference is of no range."""
    return 0.0 if difference == 0 else None


def _range(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(np.ptp(finite) or abs(finite[0])) if finite.size else 0.0
