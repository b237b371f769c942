"""Loads a device for minutes, and stores its sustained speed, throttling and consumption."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgedistill.measure import harness
from edgedistill.measure.harness import Protocol, Subject
from edgedistill.measure.local import Seen

if TYPE_CHECKING:
    from edgedistill.measure.runner.job_types import StressSettings
    from edgedistill.records.measurements import Validity
    from edgedistill.records.stress import StressLoad, StressTest

_SPARE_S = 900.0


def stress(subject: Subject, spec: str, protocol: Protocol, load: StressLoad, *, seen: Seen | None = None) -> StressTest:
    """Put a file under `load` on the device `spec`, and return the measurement, which is stored.

    seen: called with new records during the run. Raises UserError for an unknown device or one in use, DeviceFailed if the run failed.
    """
    from edgedistill.measure import document
    from edgedistill.measure.job import StressJob
    from edgedistill.measure.places import place
    from edgedistill.measure.series import series_of
    from edgedistill.measure.stress import stress_figures
    from edgedistill.measure.validity import judge
    from edgedistill.records.stress import StressFigures, StressProtocol, StressTest

    with place(spec, python=protocol.python, mirror=protocol.mirror) as where:
        setup = where.setup("stress", subject.artifact, protocol.threads)
        settings: StressSettings = {
            "seconds": load.seconds, "mode": load.mode, "rate_hz": load.rate_hz, "burst_s": load.burst_s, "pause_s": load.pause_s,
            "instances": load.instances, "limit_c": load.limit_c, "min_battery": load.min_battery,
        }  # fmt: skip
        job = StressJob(
            side=harness.side(subject, where), threads=protocol.threads, stress=settings, conditions=protocol.conditions
        )  # fmt: skip
        kept = harness.records_path(spec, job.nonce)
        records = where.run(job, log=harness.log_path(spec), timeout_s=load.seconds + _SPARE_S, records=kept, seen=seen, reduce=list)
    figures = stress_figures(records)
    slowed: list[tuple[Validity, str]] = []
    if isinstance(figures, StressFigures) and isinstance(figures.throttling.time_s, float):
        slowed = [("throttled", figures.throttling.text)]
    validity, reasons = judge(where.facts.emulated, records, series_of(records), known=slowed)
    record = StressTest(
        **dict(setup), **dict(document.sensed(records)), protocol=StressProtocol(preset=protocol.preset, **dict(load)), stress=figures,
        validity=validity, reasons=reasons,
    )  # fmt: skip
    return harness.stored(record, kept, None)
