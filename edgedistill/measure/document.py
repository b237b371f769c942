"""Builds the document of one measurement. docs/measuring.md describes its fields."""

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from edgedistill.measure.clock import clock_jumps
from edgedistill.measure.energy import energy_of
from edgedistill.measure.records import Execution, Record
from edgedistill.measure.series import Series, sensor_figures, series_of
from edgedistill.measure.statistics import PERCENTILES, intervals_ms, latency_ms, unavailable
from edgedistill.measure.timeline import bench_timeline
from edgedistill.measure.validity import judge
from edgedistill.records.devices import DeviceFacts

SCHEMA = "edgedistill/measurement/1"
_CONDITIONS = ("preflight", "cooldown", "setting", "restored", "aborted")


def base(kind: str, facts: DeviceFacts, artifact: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """The common fields of every document. facts: of the device; artifact: name, file, format, precision, bytes, sha256."""
    created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    device = facts.identity.model_dump(mode="json")
    return {"schema": SCHEMA, "kind": kind, "created": created, "device": device, "artifact": dict(artifact), **more}


def failed(document: Mapping[str, Any], why: str) -> dict[str, Any]:
    """The document of a measurement that failed."""
    figures = ("versions", "load_ms", "first_inference_ms", "latency_ms", "intervals_ms", "steady", "peak_rss_mb", "energy")
    return {**document, "validity": "invalid", "reasons": [why], **dict.fromkeys(figures, unavailable(why))}


def bench_document(
    begun: Mapping[str, Any], emulated: str | None, done: Execution, records: Sequence[Record], meters: Mapping[str, Series]
) -> dict[str, Any]:
    """`begun` (from `base`) with the figures of a complete run.

    emulated: why the device is not a real one, or None. meters: power that the host measured, on the device's clock.
    """
    # MLPerf judges a single stream by its 90th percentile.
    percentiles = (90, *PERCENTILES) if begun["protocol"]["preset"] == "mlperf" else PERCENTILES
    latency, intervals = latency_ms(done.raw_durations_ns, percentiles), intervals_ms(done.raw_durations_ns, percentiles)
    bounds = intervals["p50"]
    width = (bounds[1] - bounds[0]) / 2 / latency["p50"] if isinstance(bounds, list) else None
    return {
        **begun,
        **judged(emulated, records, steady=done.steady, widths=(width, begun["protocol"]["relative_width"])),
        "versions": done.versions,
        "facts": done.facts,
        "load_ms": done.load_ms,
        "first_inference_ms": done.first_inference_ms,
        "latency_ms": latency,
        "intervals_ms": intervals,
        "steady": done.steady,
        "peak_rss_mb": done.peak_rss_mb,
        "peak_rss_source": done.peak_rss_source,
        "energy": energy_of(records, meters),
        "timeline": bench_timeline(records, series_of(records)),
        **sensed(records),
    }


def judged(emulated: str | None, records: Sequence[Record], **more: Any) -> dict[str, Any]:
    """The `validity` and `reasons` of a document; more: further arguments of `validity.judge`."""
    validity, reasons = judge(emulated, records, series_of(records), **more)
    return {"validity": validity, "reasons": reasons}


def sensed(records: Sequence[Record]) -> dict[str, Any]:
    """The parts of a document on the sensors, the conditions, and the cost of reading the sensors."""
    cost = next((record for record in records if record["type"] == "sampling_cost"), None)
    return {
        "clock_jumps": clock_jumps(records),
        "sensors": sensor_figures(records),
        "sampling_cost": unavailable("no sensors were read") if cost is None else {k: v for k, v in cost.items() if k != "type"},
        "conditions": [dict(record) for record in records if record["type"] in _CONDITIONS],
    }
