"""Builds the records of measurements. docs/measuring.md and docs/cli.md describe their fields."""

import datetime
from collections.abc import Mapping, Sequence
from typing import Literal

from edgedistill.measure.clock import clock_jumps
from edgedistill.measure.energy import energy_of
from edgedistill.measure.generation import NO_STATE, Asked
from edgedistill.measure.generation_figures import doubts, figures
from edgedistill.measure.records import Execution, Record
from edgedistill.measure.series import Series, sensor_figures, series_of
from edgedistill.measure.statistics import PERCENTILES, intervals_ms, latency_ms
from edgedistill.measure.timeline import bench_timeline
from edgedistill.measure.validity import judge
from edgedistill.records import Unavailable
from edgedistill.records.devices import DeviceFacts
from edgedistill.records.measurements import (
    BenchProtocol,
    MeasuredFile,
    Measurement,
    Outputs,
    Program,
    SamplingCost,
    Sensed,
    Setup,
    Validity,
)

_CONDITIONS = ("preflight", "cooldown", "setting", "restored", "aborted")


Kind = Literal["bench", "compare", "stress"]


def setup(
    kind: Kind, device: DeviceFacts, artifact: MeasuredFile, *, adapter: str | None, build: str,
    threads: int,
) -> Setup:  # fmt: skip
    """What a measurement that begins now is about."""
    created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return Setup(
        kind=kind, created=created, device=device.identity, artifact=artifact, adapter=adapter, build=build, threads=threads
    )  # fmt: skip


def failed(setup: Setup, protocol: BenchProtocol, why: str, program: Program | None = None) -> Measurement:
    """The record of a measurement that failed."""
    unknown = Unavailable(unavailable=why)
    return Measurement(
        **dict(setup), protocol=protocol, program=program, validity="invalid", reasons=[why], versions=unknown, load_ms=unknown,
        first_inference_ms=unknown, latency_ms=unknown, intervals_ms=unknown, steady=unknown, peak_rss_mb=unknown, generation=unknown,
        energy=unknown,
    )  # fmt: skip


def measurement(
    setup: Setup, protocol: BenchProtocol, emulated: str | None, execution: Execution, records: Sequence[Record],
    meters: Mapping[str, Series], outputs: Outputs | None = None, generation: Asked | Unavailable = NO_STATE,
) -> Measurement:  # fmt: skip
    """The record of a complete run.

    emulated: why the device is not a real one, or None. meters: power that the host measured, on the device's clock. outputs: how those of
    the device compare with this machine's, None if they were not compared. generation: what was asked of a file with a state, or
    why nothing was.
    """
    # MLPerf judges a single stream by its 90th percentile.
    percentiles = (90, *PERCENTILES) if protocol.preset == "mlperf" else PERCENTILES
    latency, intervals = latency_ms(execution.raw_durations_ns, percentiles), intervals_ms(execution.raw_durations_ns, percentiles)
    width = None
    if isinstance(intervals.p50, tuple) and isinstance(latency.p50, float):
        width = (intervals.p50[1] - intervals.p50[0]) / 2 / latency.p50
    wrong: list[tuple[Validity, str]] = doubts(records, protocol.relative_width)
    if outputs is not None and not isinstance(outputs, Unavailable) and outputs.ok is False:
        wrong.insert(0, ("invalid", f"its outputs are not this machine's: {outputs.model_dump(mode='json')}"))
    series = series_of(records)
    validity, reasons = judge(emulated, records, series, steady=execution.steady, widths=(width, protocol.relative_width), known=wrong)
    return Measurement(
        **dict(setup),
        **dict(sensed(records)),
        protocol=protocol,
        validity=validity,
        reasons=reasons,
        versions=execution.versions,
        facts=execution.facts,
        load_ms=execution.load_ms,
        first_inference_ms=execution.first_inference_ms,
        latency_ms=latency,
        intervals_ms=intervals,
        steady=execution.steady,
        peak_rss_mb=execution.peak_rss_mb,
        peak_rss_source=execution.peak_rss_source,
        generation=figures(records, generation, meters),
        energy=energy_of(records, meters),
        timeline=bench_timeline(records, series),
        outputs=outputs,
    )


def sensed(records: Sequence[Record]) -> Sensed:
    """The sensors, the conditions, and the cost of reading the sensors."""
    cost = next((record for record in records if record["type"] == "sampling_cost"), None)
    return Sensed(
        clock_jumps=clock_jumps(records),
        sensors=sensor_figures(records),
        sampling_cost=Unavailable(unavailable="no sensors were read") if cost is None else SamplingCost.model_validate(cost),
        conditions=[record for record in records if record["type"] in _CONDITIONS],
    )
