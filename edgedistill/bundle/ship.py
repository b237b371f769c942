"""Which artifact of a target to ship, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgedistill.backends import backend
from edgedistill.records import ArtifactResult, Unavailable
from edgedistill.records.manifest import Candidate, Ship
from edgedistill.records.metric import Metric
from edgedistill.records.results import Delegation

_MIB = 2**20
_NONE = "none of its artifacts was made and verified"


def ship(artifacts: Sequence[ArtifactResult], metric: Metric, not_made: Mapping[str, str] | None = None) -> Ship:
    """The artifacts of a target in the order in which an app should try them.

    artifacts: in the order of the target. not_made: why further artifacts of the target are not there, by their names.

    A verified file goes before one that nothing here could execute, and one that failed is left out. A quantized file goes before its
    floating-point twin unless it loses accuracy or is slower. Otherwise the order of the target counts.
    """
    usable = [a for a in artifacts if a.ok is not False]
    first_of = {_file(a): a for a in reversed(artifacts)}
    # The files of several sizes stand together.
    order = sorted(usable, key=lambda a: (a.ok is None, not _is_worth_it(first_of[_file(a)]), artifacts.index(a)))
    candidates = [Candidate(name=a.name, reasons=_reasons(a, metric)) for a in order]
    missing = [f"{name} was not made: {why}. Mend that, and run `edgedistill export` again." for name, why in (not_made or {}).items()]
    missing += [f"{a.name} failed its check: the report names the first layer that differs." for a in artifacts if a.ok is False]
    first = candidates[0] if candidates else Unavailable(unavailable=_NONE)
    return Ship(order=[c.name for c in candidates], first=first, others=candidates[1:], missing=missing)


def _file(artifact: ArtifactResult) -> tuple[str, ...]:
    """What the files of one artifact in several sizes have in common."""
    return artifact.format, artifact.precision, artifact.input, artifact.delegate or ""


def _is_worth_it(artifact: ArtifactResult) -> bool:
    """Whether an artifact is quantized, and loses no accuracy or time by it."""
    quantized = artifact.quantization
    return quantized is not None and not quantized.loses and quantized.advice is None


def _reasons(artifact: ArtifactResult, metric: Metric) -> list[str]:
    parts = (_verified(artifact), _score(artifact, metric), _size(artifact), _latency(artifact), _delegation(artifact))
    advice = artifact.quantization.advice if artifact.quantization else None
    return [text for text in (*parts, f"{advice}." if advice else "") if text]


def _verified(artifact: ArtifactResult) -> str:
    compared = artifact.parity
    if artifact.ok is None or isinstance(compared, Unavailable):
        why = compared.unavailable if isinstance(compared, Unavailable) else "nothing here executes it"
        return f"Not verified: {why}. Run the self-test of the glue code on a device."
    by = ", ".join(f"{name} {version}" for name, version in artifact.runtime.items())
    own = (
        f"Executed by its own runtime ({by})"
        if artifact.executed_by == "own_runtime"
        else f"Executed by an interpreter, not by its runtime ({by})"
    )
    if compared.exact == 1:
        return f"{own}: all outputs are those of the quantized model."
    if compared.mean_lsb is not None:
        return f"{own}: outputs differ from the quantized model by {compared.mean_lsb:.2g} steps in the mean."
    if compared.relative is not None:
        return f"{own}: outputs differ from PyTorch by at most {compared.relative:.1g} of the largest."
    return f"{own}: outputs are within the rule ({compared.rule})."


def _score(artifact: ArtifactResult, metric: Metric) -> str:
    score = artifact.score.val
    if isinstance(score, Unavailable):
        return f"{metric.title[:1].upper()}{metric.title[1:]}: unavailable, {score.unavailable}."
    low, high = score.interval
    text = f"{metric.title[:1].upper()}{metric.title[1:]} on val {score.value:.1%} [{low:.1%}, {high:.1%}]"
    quantized = artifact.quantization
    if quantized is not None and not isinstance(quantized.difference, Unavailable):
        text += f", {100 * quantized.difference:+.1f} points against {quantized.twin}"
    return f"{text}."


def _size(artifact: ArtifactResult) -> str:
    text = f"{artifact.bytes / _MIB:.1f} MiB"
    quantized = artifact.quantization
    if quantized is not None and not isinstance(quantized.bytes_ratio, Unavailable):
        text += f", {quantized.bytes_ratio:.0%} of {quantized.twin}"
    return f"{text}."


def _latency(artifact: ArtifactResult) -> str:
    latency = artifact.latency_ms
    if isinstance(latency, Unavailable):
        return f"Latency: unavailable, {latency.unavailable}."
    if isinstance(latency.p50, Unavailable):
        return f"Latency: unavailable, {latency.p50.unavailable}."
    text = f"Median latency {latency.p50:.2f} ms on the machine that exported it, {artifact.threads or 1} thread(s)"
    quantized = artifact.quantization
    if quantized is not None and not isinstance(quantized.speedup, Unavailable):
        text += f", {quantized.speedup:.1f}x the speed of {quantized.twin}"
    return f"{text}; measure it on a device with `edgedistill bench --device`."


def _delegation(artifact: ArtifactResult) -> str:
    found = artifact.delegation
    if not isinstance(found, Delegation):
        return ""
    facts = backend(artifact.format)
    name = artifact.delegate or facts.default_delegate or facts.title
    if left := sum(found.outside.values()):
        return f"{name} leaves {left} operator(s) to slower kernels: {', '.join(found.outside)}."
    return f"Fast kernels of {name} compute all operators, in {found.partitions} part(s)."
