"""What quantization cost and gained: each quantized artifact beside the floating-point artifact of its format."""

from collections.abc import Callable
from typing import Any

import numpy as np

from edgedistill.measure.statistics import unavailable
from edgedistill.recipe.precisions import is_float
from edgedistill.report.records import NO_LABELS
from edgedistill.report.tables import Summary, twin_of
from edgedistill.report.values import points
from edgedistill.tasks.intervals import paired_difference

_TOLERATED = 0.003
"""Share of predictions that a quantized file may lose: 0.3 points."""
Outputs = Callable[[str], np.ndarray | None]


def add_twins(artifacts: list[dict[str, Any]], outputs: Outputs, labels: np.ndarray | None) -> None:
    """Give each quantized artifact of the student a `quantization`, in place; see `quantization`.

    outputs: logits float32 [N, classes] on val of an artifact or rung, or None. labels: int [N], or None where there are none.
    """
    for artifact in artifacts:
        if not is_float(artifact["precision"]):
            artifact["quantization"] = quantization(artifact, twin_of(artifact, artifacts), outputs, labels)


def warnings(artifacts: list[dict[str, Any]]) -> list[str]:
    """A sentence for each precision that loses accuracy beyond doubt: the 95% interval of a file of it lies wholly below -0.3 points."""
    found = [a for a in artifacts if _loses(a.get("quantization") or {})]
    worst = {a["precision"]: a for a in sorted(found, key=lambda a: -a["quantization"]["difference"])}
    return [_warning(a["precision"], a["quantization"]) for a in worst.values()]


def _loses(cost: dict[str, Any]) -> bool:
    return isinstance(cost.get("interval"), list) and cost["interval"][1] < -_TOLERATED


def _warning(precision: str, cost: dict[str, Any]) -> str:
    low, high = (points(end) for end in cost["interval"])
    todo = "Train it in int8, or for longer, or try quantize.mixed: auto" if precision == "int8" else "Take a precision that keeps more"
    lost = f"{precision} loses {points(-cost['difference']).removeprefix('+')} points of accuracy on val"
    return f"{lost} [{low}, {high}] against {cost['twin']}, n = {cost['n']}. {todo}, or ship {cost['twin']}"


def quantization(artifact: Summary, twin: Summary | None, outputs: Outputs, labels: np.ndarray | None) -> dict[str, Any]:
    """Flips, accuracy, bytes and latency of `artifact` against its `twin`, or against the student in PyTorch where it has none.

    difference: accuracy less that of the twin, with the 95% interval of matched pairs. bytes_ratio: its bytes over the twin's. speedup: the
    twin's median latency over its own. advice: the twin where the artifact is slower, else None.
    """
    name = "student" if twin is None else twin["name"]
    found: dict[str, Any] = {"twin": name, **compare(outputs(artifact["name"]), outputs(name), labels)}
    if twin is None:
        none = unavailable("no floating-point artifact of this format")
        return found | {"bytes_ratio": none, "speedup": none, "advice": None}
    found["bytes_ratio"] = artifact["bytes"] / twin["bytes"]
    ours, theirs = (a["latency_ms"].get("p50") for a in (artifact, twin))
    if ours is None or theirs is None:
        why = artifact["latency_ms"] if ours is None else twin["latency_ms"]
        return found | {"speedup": unavailable(why.get("unavailable", "not measured")), "advice": None}
    kind, ratio = artifact["precision"], found["bytes_ratio"]
    slower = f"{kind} is slower than floating point here: ship {name} unless {ratio:.2f} times the bytes matter more"
    return found | {"speedup": theirs / ours, "advice": slower if ours > theirs else None}


def compare(a: np.ndarray | None, b: np.ndarray | None, labels: np.ndarray | None) -> dict[str, Any]:
    """Flipped predictions between logits `a` and `b` [N, classes], and the difference of their accuracies with its interval."""
    if a is None or b is None or a.shape != b.shape:
        return dict.fromkeys(("flips", "difference", "interval"), unavailable("not both were run on val")) | {"n": 0}
    chosen = [logits.argmax(axis=1) for logits in (a, b)]
    flips = {"flips": int((chosen[0] != chosen[1]).sum()), "n": len(a)}
    if labels is None:
        return flips | dict.fromkeys(("difference", "interval"), unavailable(NO_LABELS))
    difference, low, high = paired_difference(*(c == labels for c in chosen))
    return flips | {"difference": difference, "interval": [low, high]}
