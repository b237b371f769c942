"""What quantization cost and gained: each quantized artifact beside the floating-point artifact of its format."""

from collections.abc import Callable, Sequence

from edgedistill.recipe.precisions import is_float
from edgedistill.records import ArtifactResult, Latency, Quantization, Unavailable
from edgedistill.verify import judge
from edgedistill.verify.scoring import Difference

Against = Callable[[str, str], Difference]
"""How the outputs of two artifacts or rungs differ, by their names; see `Scorer.difference`."""


def with_twins(artifacts: Sequence[ArtifactResult], against: Against, tolerated: float) -> list[ArtifactResult]:
    """The artifacts, each quantized one with its `quantization`. tolerated: how much of the score it may lose."""
    return [
        a
        if is_float(a.precision)
        else a.model_copy(update={"quantization": quantization(a, judge.twin_of(a, artifacts), against, tolerated)})
        for a in artifacts
    ]


def quantization(artifact: ArtifactResult, twin: ArtifactResult | None, against: Against, tolerated: float) -> Quantization:
    """Flips, score, bytes and latency of `artifact` against its `twin`, or against the student in PyTorch where it has none."""
    name = "student" if twin is None else twin.name
    difference = against(artifact.name, name)
    known = difference._asdict() | {"twin": name, "loses": judge.loses(difference.interval, tolerated)}
    if twin is None:
        none = Unavailable(unavailable="no floating-point artifact of this format")
        return Quantization(**known, bytes_ratio=none, speedup=none, advice=None)
    ratio, speedup = artifact.bytes / twin.bytes, _speedup(artifact, twin)
    slower = f"{artifact.precision} is slower than floating point here: ship {name} unless {ratio:.2f} times the bytes matter more"
    advice = slower if isinstance(speedup, float) and speedup < 1 else None
    return Quantization(**known, bytes_ratio=ratio, speedup=speedup, advice=advice)


def _speedup(artifact: ArtifactResult, twin: ArtifactResult) -> float | Unavailable:
    ours, theirs = artifact.latency_ms, twin.latency_ms
    if not isinstance(ours, Latency):
        return ours
    if not isinstance(theirs, Latency):
        return theirs
    if isinstance(ours.p50, float) and isinstance(theirs.p50, float):
        return theirs.p50 / ours.p50
    return Unavailable(unavailable="not measured")
