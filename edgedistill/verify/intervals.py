"""Intervals for accuracies and their differences, and the verdict on distillation in words."""

import math
from typing import Any

import numpy as np

_Z95 = 1.959963984540054


def wilson(correct: int, n: int) -> tuple[float, float]:
    """95% score interval of `correct` out of `n`. Wilson 1927, "Probable inference", JASA 22, 209-212."""
    if n == 0:
        raise ValueError("an interval needs at least one sample")
    share, z2 = correct / n, _Z95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def paired_difference(a: np.ndarray, b: np.ndarray) -> tuple[float, float, float]:
    """Difference of two accuracies on the same samples, mean(a) - mean(b), with its 95% interval.

    a, b: bool [N], whether each sample was right. Half a sample is added to each of the four cells, so that few or no
    discordant samples still give a width. Agresti and Min 2005, "Simple improved confidence intervals for comparing
    matched proportions", Statistics in Medicine 24, 729-740.
    """
    if a.shape != b.shape or len(a) == 0:
        raise ValueError(f"expected two arrays of one length, found {a.shape} and {b.shape}")
    only_a, only_b, n = float((a & ~b).sum()), float((b & ~a).sum()), len(a)
    adjusted = n + 2
    p, q = (only_a + 0.5) / adjusted, (only_b + 0.5) / adjusted
    half = _Z95 * math.sqrt((p + q - (p - q) ** 2) / adjusted)
    return (only_a - only_b) / n, p - q - half, p - q + half


def verdict(student: np.ndarray, control: np.ndarray) -> dict[str, Any]:
    """Whether distillation helped: the student against the control, bool [N] each, on the same val images."""
    difference, low, high = paired_difference(student, control)
    points = f"95% interval {100 * low:+.1f} to {100 * high:+.1f} points, {len(student)} validation images"
    if low > 0:
        outcome, text = (
            "helped",
            f"Distillation helped: the student is {100 * difference:.1f} points more accurate than the control ({points}).",
        )
    elif high < 0:
        outcome = "hurt"
        text = (
            f"Distillation hurt: the student is {-100 * difference:.1f} points less accurate than the control ({points}). Ship the control."
        )
    else:
        outcome = "no_difference"
        gap = f"student minus control is {100 * difference:+.1f} points"
        text = f"Distillation made no difference that these images can show: {gap} ({points})."
    return {"outcome": outcome, "text": text, "difference": difference, "interval": [low, high], "split": "val", "n": len(student)}
