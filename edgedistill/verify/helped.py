"""Whether distillation helped, in words."""

import numpy as np

from edgedistill.records.summary import Verdict
from edgedistill.tasks.base import Task


def verdict(task: Task, student: np.ndarray, control: np.ndarray) -> Verdict:
    """The student against the control: the scores [N] of both on the same samples of val."""
    difference, low, high = task.paired(student, control)
    metric, n = task.metric, len(student)
    points = f"95% interval {100 * low:+.1f} to {100 * high:+.1f} points, {n} validation {task.words.samples}"
    known = {"difference": difference, "interval": (low, high), "split": "val", "n": n}
    if low > 0:
        text = f"Distillation helped: the student is {100 * difference:.1f} points {metric.better} than the control ({points})."
        return Verdict(outcome="helped", text=text, **known)
    if high < 0:
        text = f"Distillation hurt: the student is {-100 * difference:.1f} points {metric.worse} than the control ({points})."
        return Verdict(outcome="hurt", text=f"{text} Ship the control.", **known)
    gap = f"student minus control is {100 * difference:+.1f} points"
    text = f"Distillation made no difference that these {task.words.samples} can show: {gap} ({points})."
    return Verdict(outcome="no_difference", text=text, **known)
