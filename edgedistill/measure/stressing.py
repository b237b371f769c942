"""Loads a device for minutes, and stores its sustained speed, throttling and consumption."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgedistill.measure import harness
from edgedistill.measure.harness import Protocol, Subject
from edgedistill.measure.local import Seen

if TYPE_CHECKING:
    from edgedistill.records.measurements import Validity
    from edgedistill.records.stress import StressLoad, StressTest

_SPARE_S = 900.0


def stress(subject: Subject, spec: str, protocol: Protocol, load: StressLoad, *, seen: Seen | None = None) -> StressTest:
    """Put a file under `load` on the device `spec`, and return the measurement, which is stored.

    seen: called with new records during the run. Raises UserError for an unknown device or one in use, DeviceFailed if the run failed.
    """
    from edgedistill.measure import document
    from edgedistill.measure.job import described_method, new_job
    from edgedistill.measure.places import place
    from edgedistill.measure.series import series_of
    from edgedistill.measure.stress import stress_figures
    from edgedistill.measure.validity import judge
    from edgedistill.records.measurements import MeasuredFile
    from edgedistill.records.stress import StressFigures, StressProtocol, StressTest

    with place(spec, python=protocol.python, mirror=protocol.mirror) as where:
        setup = where.setup("stress", MeasuredFile(**subject.artifact), protocol.threads)
        job = new_job(
            "stress", adapter=where.adapter(subject.format), artifact=subject.path, signature=described_method(subject.method),
            inputs=subject.inputs, threads=protocol.threads, stress=load.model_dump(), conditions=protocol.conditions,
        )  # fmt: skip
        kept = harness.records_path(spec, job)
        records = where.run(job, log=harness.log_path(spec), timeout_s=load.seconds + _SPARE_S, records=kept, seen=seen, reduce=list)
    figures = stress_figures(records)
    slowed: list[tuple[Validity, str]] = []
    if isinstance(figures, StressFigures) and isinstance(figures.throttling.time_s, float):
        slowed = [("throttled", figures.throttling.text)]
    validity, reasons = judge(where.facts.emulated, records, series_of(records), known=slowed)
    done = StressTest(
        **dict(setup), **dict(document.sensed(records)), protocol=StressProtocol(preset=protocol.preset, **dict(load)), stress=figures,
        validity=validity, reasons=reasons,
    )  # fmt: skip
    return harness.stored(done, kept, None)
