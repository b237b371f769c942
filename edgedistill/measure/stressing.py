"""Loads a device for minutes, and stores its sustained speed, throttling and consumption."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgedistill.measure import harness
from edgedistill.measure.harness import Protocol, Subject
from edgedistill.measure.local import Seen

_SPARE_S = 900.0


@dataclass(frozen=True)
class Stress:
    """The load, as `runner.stress_load` takes it."""

    seconds: float
    mode: str = "continuous"
    rate_hz: float | None = None
    burst_s: float | None = None
    pause_s: float | None = None
    instances: int = 1
    limit_c: float | None = None
    min_battery: float | None = None


def stress(subject: Subject, spec: str, protocol: Protocol, load: Stress, *, seen: Seen | None = None) -> dict[str, Any]:
    """Put a file under `load` on the device `spec`, and return the document, which is stored.

    seen: called with new records during the run. Raises UserError for an unknown device or one in use, DeviceFailed if the run failed.
    """
    from dataclasses import asdict

    from edgedistill.measure import document
    from edgedistill.measure.job import described_method, new_job
    from edgedistill.measure.places import place
    from edgedistill.measure.stress import stress_figures

    with place(spec, python=protocol.python, mirror=protocol.mirror) as where:
        job = new_job(
            "stress", adapter=where.adapter(subject.format), artifact=subject.path, signature=described_method(subject.method),
            inputs=subject.inputs, threads=protocol.threads, stress=asdict(load), conditions=protocol.conditions,
        )  # fmt: skip
        kept = harness.records_path(spec, job)
        records = where.run(job, log=harness.log_path(spec), timeout_s=load.seconds + _SPARE_S, records=kept, seen=seen, reduce=list)
    asked = {"preset": protocol.preset, **asdict(load)}
    begun = document.base("stress", where.facts, subject.artifact, **where.told(subject.format), threads=protocol.threads, protocol=asked)
    figures = stress_figures(records)
    throttling = figures.get("throttling", {})
    slowed = [("throttled", throttling["text"])] if isinstance(throttling.get("time_s"), float) else []
    judged = document.judged(where.facts.emulated, records, known=slowed)
    return harness.stored(begun | judged | {"stress": figures, **document.sensed(records)}, kept, None)
