"""The part of a report about devices, and a page of its own for measurements without a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue, TypeAdapter

from edgedistill import files
from edgedistill.measure.problems import problems
from edgedistill.records import Latency, Unavailable
from edgedistill.records.comparisons import InterleavedComparison
from edgedistill.records.measurements import Intervals, Measured, Measurement
from edgedistill.records.results import Interval
from edgedistill.records.stored import AnyMeasurement
from edgedistill.records.stress import StressFigures, StressTest, Throughput
from edgedistill.report import device_charts, device_tables
from edgedistill.report.device_charts import Point
from edgedistill.report.tables import Table
from edgedistill.report.templates import environment, shown
from edgedistill.report.values import LEVEL

if TYPE_CHECKING:
    from markupsafe import Markup

_MIN_POINTS = 5
_ANY: TypeAdapter[AnyMeasurement] = TypeAdapter(AnyMeasurement)


@dataclass(frozen=True)
class BenchCourse:
    """A benchmark over time."""

    title: str
    chart: Markup


@dataclass(frozen=True)
class LoadPart:
    """What the page says about a stress test."""

    title: str
    text: str
    throttled: bool
    chart: Markup | None
    why: str
    minutes: Table
    wrong: list[str]


@dataclass(frozen=True)
class DeviceSection:
    """What the template devices.html.j2 takes as `devices`: tables, charts beside each other, and each load over time."""

    tables: dict[str, Table]
    reasons: list[str]
    latency: Markup | None
    kept: Markup | None
    loads: list[LoadPart]
    courses: list[BenchCourse]


def write_device_report(measurements: Sequence[AnyMeasurement], path: Path) -> Path:
    """Write a page about measurements to `path`, atomically, and return `path`."""
    files.write_text(path, render_devices(measurements))
    return path


def render_devices(measurements: Sequence[AnyMeasurement]) -> str:
    """The page about measurements as one self-contained HTML document."""
    names = sorted({measurement.device.spec for measurement in measurements})
    notes: list[str] = []
    return (
        environment()
        .get_template("devices_page.html.j2")
        .render(
            level=LEVEL,
            name=f"Measured on {', '.join(names)}",
            devices=_section(measurements),
            notes=notes,
            shown=lambda cell: shown(cell, notes),
        )
    )


def section(documents: Sequence[Mapping[str, JsonValue]]) -> DeviceSection:
    """The part of a run's report about the measurements in its summary."""
    return _section([_ANY.validate_python(document) for document in documents])


def _section(measurements: Sequence[AnyMeasurement]) -> DeviceSection:
    from markupsafe import Markup

    benches = [measurement for measurement in measurements if isinstance(measurement, Measurement)]
    tests = [measurement for measurement in measurements if isinstance(measurement, StressTest)]
    comparisons = [measurement for measurement in measurements if isinstance(measurement, InterleavedComparison)]
    latency = device_charts.beside(_latencies(benches), "median latency, ms (logarithmic)") if benches else None
    kept = device_charts.beside(_kept(tests), "sustained of initial throughput", zero=True) if len(tests) > 1 else None
    return DeviceSection(
        tables={
            "devices": device_tables.devices(measurements),
            "benches": device_tables.benches(benches),
            "generation": device_tables.generation(benches),
            "loads": device_tables.loads(tests),
            "compared": device_tables.compared(comparisons),
        },
        reasons=device_tables.reasons(measurements),
        latency=Markup(latency) if latency else None,
        kept=Markup(kept) if kept else None,
        loads=[_load(test) for test in tests],
        courses=[course for measurement in benches if (course := _course(measurement))],
    )


def _title(measurement: Measured) -> str:
    return f"{measurement.artifact.name} on {measurement.device.spec}"


def _course(measurement: Measurement) -> BenchCourse | None:
    """A benchmark over time; None for one that was too short for its sensors to draw a line."""
    from markupsafe import Markup

    timeline = measurement.timeline or {}
    drawn = [
        name for name, course in timeline.items() if name.startswith(("temperature.", "frequency.")) and len(course.t_s) >= _MIN_POINTS
    ]
    chart = device_charts.over_time(timeline) if drawn else None
    return BenchCourse(_title(measurement), Markup(chart)) if chart else None


def _load(test: StressTest) -> LoadPart:
    from markupsafe import Markup

    figures, minutes = test.stress, device_tables.minutes(test.stress)
    if isinstance(figures, Unavailable):
        return LoadPart(_title(test), "", throttled=False, chart=None, why=figures.unavailable, minutes=minutes, wrong=[])
    onset_s = figures.throttling.time_s if isinstance(figures.throttling.time_s, float) else None
    chart = device_charts.over_time(figures.timeline, end_s=figures.ran_s, onset_s=onset_s)
    return LoadPart(
        _title(test),
        figures.throttling.text,
        throttled=onset_s is not None,
        chart=Markup(chart) if chart else None,
        why="no timeline was recorded",
        minutes=minutes,
        wrong=problems(figures),
    )


def _latencies(measurements: Sequence[Measurement]) -> list[Point]:
    points = []
    for measurement in measurements:
        latency, intervals = measurement.latency_ms, measurement.intervals_ms
        if isinstance(latency, Latency) and isinstance(latency.p50, float):
            bounds = intervals.p50 if isinstance(intervals, Intervals) else intervals
            points.append(_point(measurement, latency.p50, bounds))
    return points


def _kept(tests: Sequence[StressTest]) -> list[Point]:
    points = []
    for test in tests:
        if isinstance(test.stress, StressFigures) and isinstance(test.stress.throughput, Throughput):
            ratio = test.stress.throughput.ratio
            points.append(_point(test, ratio.value, ratio.interval))
    return points


def _point(measurement: Measured, value: float, bounds: Interval | Unavailable) -> Point:
    known = None if isinstance(bounds, Unavailable) else bounds
    return Point(measurement.artifact.name, measurement.device.spec, value, known, measurement.validity == "valid")
