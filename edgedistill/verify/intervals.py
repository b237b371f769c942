"""The verdict on distillation in words."""

from typing import Any

import numpy as np

from edgedistill.tasks.intervals import paired_difference


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
