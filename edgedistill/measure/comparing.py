"""Compares two files on a device, interleaved."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from edgedistill.errors import UserError
from edgedistill.measure import harness
from edgedistill.measure.harness import Protocol, Subject

if TYPE_CHECKING:
    from edgedistill.measure.places import Place
    from edgedistill.measure.runner.job_types import CompareSettings
    from edgedistill.records.comparisons import CompareDocument, CompareProtocol, InterleavedComparison

_TIMEOUT_S = 3600.0


def compare(a: Path, b: Path, spec: str, protocol: Protocol) -> CompareDocument:
    """Compare the model files `a` and `b` on the device `spec`: B's duration relative to A's, with its interval and a verdict.

    An int8 file is also compared with the fp32 twin in the same folder. Raises UserError and DeviceFailed as `harness.bench` does.
    """
    from edgedistill.measure.devices import open_device
    from edgedistill.measure.places import place
    from edgedistill.measure.presets import COMPARE_PRESETS
    from edgedistill.records.comparisons import CompareDocument

    open_device(spec)
    if protocol.preset not in COMPARE_PRESETS:
        expected = " or ".join(COMPARE_PRESETS)
        raise UserError(f"found preset '{protocol.preset}', expected {expected}: a comparison stops by the ratio's interval")
    settings = COMPARE_PRESETS[protocol.preset]
    with ExitStack() as stack:
        (first,), (second,) = (stack.enter_context(harness.of_file(path, run=False)) for path in (a, b))
        where = stack.enter_context(place(spec, python=protocol.python, mirror=protocol.mirror))
        result, twins = _interleaved(where, first, second, protocol, settings), []
        for subject in (first, second):
            twin = subject.path.with_name(subject.path.name.replace("int8", "fp32"))
            if subject.precision == "int8" and twin.exists() and twin not in (subject.path, a, b):
                (plain,) = stack.enter_context(harness.of_file(twin, run=False))
                twins.append(_interleaved(where, plain, subject, protocol, settings))
    return CompareDocument(**dict(result), twins=twins)


def _interleaved(where: Place, a: Subject, b: Subject, protocol: Protocol, settings: CompareProtocol) -> InterleavedComparison:
    from edgedistill.measure import comparison, document
    from edgedistill.measure.job import CompareJob
    from edgedistill.measure.series import series_of
    from edgedistill.measure.validity import judge
    from edgedistill.records.comparisons import InterleavedComparison, Side

    spec = where.facts.spec
    setup = where.setup("compare", b.artifact, protocol.threads)
    asked: CompareSettings = {
        "block_s": settings.block_s, "pairs": settings.pairs, "warmup_s": settings.warmup_s, "relative_width": settings.relative_width,
        "max_s": settings.max_s, "min_rounds": settings.min_rounds, "seed": 0,
    }  # fmt: skip
    job = CompareJob(
        a=harness.side(a, where), b=harness.side(b, where), threads=protocol.threads, compare=asked, conditions=protocol.conditions
    )
    kept = harness.records_path(spec, job.nonce)
    records = where.run(job, log=harness.log_path(spec), timeout_s=_TIMEOUT_S, records=kept, reduce=list)
    validity, reasons = judge(where.facts.emulated, records, series_of(records))
    figures = comparison.compare(records)
    measured = {name: Side(**dict(side), artifact=subject.artifact) for name, side, subject in (("a", figures.a, a), ("b", figures.b, b))}
    record = InterleavedComparison(
        **dict(setup), **dict(document.sensed(records)), **(dict(figures) | measured), protocol=settings, validity=validity,
        reasons=reasons,
    )  # fmt: skip
    return harness.stored(record, kept, None)
