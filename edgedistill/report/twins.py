"""What quantization cost and gained: each quantized artifact beside the floating-point artifact of its format."""

from collections.abc import Callable, Sequence
from typing import TypedDict

import numpy as np

from edgedistill.recipe.precisions import is_float
from edgedistill.records import ArtifactResult, Latency, Quantization, Unavailable
from edgedistill.report.records import NO_LABELS, decide
from edgedistill.tasks.intervals import paired_difference
from edgedistill.verify import judge

Outputs = Callable[[str], np.ndarray | None]


class Difference(TypedDict):
    """How two sets of outputs differ: flips of `n` decisions, and the difference of their accuracies with its 95% interval."""

    flips: int | Unavailable
    n: int
    difference: float | Unavailable
    interval: tuple[float, float] | Unavailable


def with_twins(artifacts: Sequence[ArtifactResult], outputs: Outputs, labels: np.ndarray | None) -> list[ArtifactResult]:
    """The artifacts, each quantized one with its `quantization`.

    outputs: logits float32 [N, classes] on val of an artifact or rung, or None. labels: int [N], or None where there are none.
    """
    return [
        a if is_float(a.precision) else a.model_copy(update={"quantization": quantization(a, judge.twin_of(a, artifacts), outputs, labels)})
        for a in artifacts
    ]


def quantization(artifact: ArtifactResult, twin: ArtifactResult | None, outputs: Outputs, labels: np.ndarray | None) -> Quantization:
    """Flips, accuracy, bytes and latency of `artifact` against its `twin`, or against the student in PyTorch where it has none."""
    name = "student" if twin is None else twin.name
    found = compare(outputs(artifact.name), outputs(name), labels)
    if twin is None:
        none = Unavailable(unavailable="no floating-point artifact of this format")
        return Quantization(twin=name, **found, bytes_ratio=none, speedup=none, advice=None)
    ratio, speedup = artifact.bytes / twin.bytes, _speedup(artifact, twin)
    slower = f"{artifact.precision} is slower than floating point here: ship {name} unless {ratio:.2f} times the bytes matter more"
    advice = slower if isinstance(speedup, float) and speedup < 1 else None
    return Quantization(twin=name, **found, bytes_ratio=ratio, speedup=speedup, advice=advice)


def _speedup(artifact: ArtifactResult, twin: ArtifactResult) -> float | Unavailable:
    ours, theirs = artifact.latency_ms, twin.latency_ms
    if not isinstance(ours, Latency):
        return ours
    if not isinstance(theirs, Latency):
        return theirs
    if isinstance(ours.p50, float) and isinstance(theirs.p50, float):
        return theirs.p50 / ours.p50
    return Unavailable(unavailable="not measured")


def compare(a: np.ndarray | None, b: np.ndarray | None, labels: np.ndarray | None) -> Difference:
    """Flipped predictions between logits `a` and `b` [N, classes], and the difference of their accuracies with its interval."""
    if a is None or b is None or a.shape != b.shape:
        none = Unavailable(unavailable="not both were run on val")
        return {"flips": none, "n": 0, "difference": none, "interval": none}
    ours, theirs = decide({"logits": a}), decide({"logits": b})
    flips = int((ours != theirs).sum())
    if labels is None:
        none = Unavailable(unavailable=NO_LABELS)
        return {"flips": flips, "n": len(a), "difference": none, "interval": none}
    difference, low, high = paired_difference(ours == labels, theirs == labels)
    return {"flips": flips, "n": len(a), "difference": difference, "interval": (low, high)}
