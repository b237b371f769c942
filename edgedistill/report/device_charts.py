"""The charts of measurements on devices: a load over time, and devices beside each other. Each returns an SVG, or None without data."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import median
from typing import Any, NamedTuple

from edgedistill.records.measurements import Course
from edgedistill.records.results import Interval
from edgedistill.report.svg import BLUE, GREEN, GREY, ORANGE, PURPLE, TEXT, draw, rows
from edgedistill.report.values import figures

MAX_LINES = 4
_HUES = (BLUE, ORANGE, GREEN, PURPLE)
_WIDTH = 640
# Where the slowest inference is so much slower than the usual one, a linear axis would show a flat line.
_LOGARITHMIC_FROM = 4.0


class Line(NamedTuple):
    """A line of a panel and its label."""

    label: str
    course: Course


class Row(NamedTuple):
    """The values of a line in one period, `t` seconds after the load began."""

    line: str
    t: float
    low: float
    median: float
    high: float


class Point(NamedTuple):
    """A figure of a file on a device, and whether its measurement is valid."""

    file: str
    device: str
    value: float
    interval: Interval | None
    valid: bool


def over_time(timeline: Mapping[str, Course], *, end_s: float | None = None, onset_s: float | None = None) -> str | None:
    """The panels of a load on one axis of time: latency, temperature, frequency, power and memory, those that were measured.

    end_s: end of the axis; None for that of the latency. onset_s: where it became slower, marked by a dashed rule.
    """
    import altair as alt

    if "latency" not in timeline or not timeline["latency"].t_s:
        return None
    data: dict[str, list[dict[str, str | float]]] = {}
    data["onset"] = [{"t": onset_s, "label": f"slower after {figures(onset_s)} s"}] if onset_s is not None else []
    end = end_s or max(timeline["latency"].t_s)
    kinds = [(title, height, lines) for title, height, pick in _PANELS if (lines := pick(timeline))]
    panels = []
    for index, (title, height, lines) in enumerate(kinds):
        last, name = index == len(kinds) - 1, f"panel{index}"
        points, labels = _rows(lines), [line.label for line in lines]
        data[name] = [row._asdict() for row in points]
        panels.append(_panel(alt, name, title, height, labels, points, end, last=last, marked=onset_s is not None))
    whole = alt.vconcat(*panels, spacing=10).resolve_scale(color="independent")
    return draw(whole, 6, **data)


def _panel(
    alt: Any, name: str, title: str, height: int, labels: list[str], points: list[Row], end: float, *, last: bool, marked: bool
) -> Any:  # fmt: skip
    title_x = "seconds since the load began" if last else None
    axis = alt.Axis(title=title_x, tickCount=8, labels=last, ticks=last)
    x = alt.X("t:Q", scale=alt.Scale(domain=[0, end], nice=False), axis=axis)
    high, middle = max(row.high for row in points), median(row.median for row in points)
    wide = min(row.low for row in points) > 0 and high > _LOGARITHMIC_FROM * middle
    scale = alt.Scale(type="log", nice=False, padding=4) if wide else alt.Scale(zero=False, nice=False, padding=6)
    # The same width of labels in all panels keeps their axes of time below each other.
    values = alt.Axis(tickCount=4, minExtent=34, format=",.3~r") if wide else alt.Axis(tickCount=4, minExtent=34)
    y = partial(alt.Y, scale=scale, title=title + (" (log)" if wide else ""), axis=values)
    legend = None
    if len(labels) > 1:
        legend = alt.Legend(title=None, symbolType="stroke", symbolSize=300, symbolOpacity=1, columnPadding=26, offset=4)
    colour = alt.Color("line:N", legend=legend, scale=alt.Scale(domain=labels, range=list(_HUES[: len(labels)])))
    base = rows(name).encode(x=x)
    band = base.mark_area(opacity=0.22, aria=False).encode(y=y("low:Q"), y2="high:Q", color=colour)
    line = base.mark_line(strokeWidth=1.6, aria=False).encode(y=y("median:Q"), color=colour)
    layers = [band, line]
    if marked:
        marks = rows("onset").encode(x=alt.X("t:Q"))
        layers.append(marks.mark_rule(strokeDash=[5, 4], color=TEXT, strokeWidth=1.4).encode(description="label:N"))
    return alt.layer(*layers).properties(width=_WIDTH, height=height)


def _rows(lines: Sequence[Line]) -> list[Row]:
    return [
        Row(label, *values) for label, course in lines for values in zip(course.t_s, course.low, course.median, course.high, strict=True)
    ]


def _latency(timeline: Mapping[str, Course]) -> list[Line]:
    return [Line("latency", timeline["latency"])]


def _temperatures(timeline: Mapping[str, Course]) -> list[Line]:
    return _hottest([Line(name.removeprefix("temperature."), course) for name, course in timeline.items() if "temperature" in name])


def _frequencies(timeline: Mapping[str, Course]) -> list[Line]:
    """One line a cluster: cores that always have the same frequency are one."""
    clusters: dict[tuple[float, ...], list[Line]] = {}
    for name, course in timeline.items():
        if name.startswith("frequency."):
            clusters.setdefault(tuple(course.median), []).append(Line(name.removeprefix("frequency."), course))
    return _hottest([_cluster(cores) for cores in clusters.values()])


def _cluster(cores: list[Line]) -> Line:
    label, course = cores[0]
    return Line(label if len(cores) == 1 else f"{label} and {len(cores) - 1} more", course)


def _power(timeline: Mapping[str, Course]) -> list[Line]:
    return _hottest([Line(name.removeprefix("power."), course) for name, course in timeline.items() if name.startswith("power.")])


def _current(timeline: Mapping[str, Course]) -> list[Line]:
    return [Line("battery", timeline["battery.current"])] if "battery.current" in timeline else []


def _memory(timeline: Mapping[str, Course]) -> list[Line]:
    instances = [(name, course) for name, course in timeline.items() if name.startswith("memory.instance")]
    return [Line(f"instance {name.removeprefix('memory.instance')}", course) for name, course in instances[:MAX_LINES]]


def _hottest(lines: list[Line]) -> list[Line]:
    """The lines that reach highest, as many as can be told apart, in the order of their names."""
    highest = sorted(lines, key=lambda line: -max(line.course.high))[:MAX_LINES]
    return sorted(highest, key=lambda line: line.label)


_PANELS: tuple[tuple[str, int, Callable[[Mapping[str, Course]], list[Line]]], ...] = (
    ("latency, ms", 150, _latency),
    ("°C", 90, _temperatures),
    ("MHz", 80, _frequencies),
    ("W", 80, _power),
    ("mA", 70, _current),
    ("memory, MB", 80, _memory),
)


def beside(points: Sequence[Point], title: str, *, zero: bool = False) -> str | None:
    """Devices beside each other: a dot with its interval for each of `points`.

    A group for each file, a line and a colour for each device; open dots are measurements that are not valid. zero: the axis begins at 0,
    otherwise it is logarithmic.
    """
    import altair as alt

    drawn = [point for point in points if point.value > 0]
    if not drawn:
        return None
    devices = list(dict.fromkeys(point.device for point in drawn))
    hues = [*_HUES[: len(devices)], *[GREY] * (len(devices) - len(_HUES))]
    scale = alt.Scale(zero=True, nice=True) if zero else alt.Scale(type="log", nice=False, padding=14)
    x = partial(alt.X, title=title, scale=scale, axis=alt.Axis(format="~g", tickCount=6))
    y = alt.Y("device:N", sort=devices, title=None, axis=alt.Axis(labels=False, ticks=False, grid=True))
    legend, colours = alt.Legend(title=None, columns=2, columnPadding=26), alt.Scale(domain=devices, range=hues)
    # A facet divides its own data among the rows, so the layers have none.
    base = alt.Chart().encode(y=y)
    bars = base.mark_rule(strokeWidth=2).encode(x=x("low:Q"), x2="high:Q", color=alt.Color("device:N", legend=legend, scale=colours))
    dots = base.mark_point(size=80, strokeWidth=2, opacity=1).encode(
        x=x("value:Q"),
        stroke=alt.Stroke("device:N", legend=legend, scale=colours),
        fill=alt.Fill("device:N", legend=legend, scale=colours),
        fillOpacity=alt.FillOpacity("filled:Q", scale=None, legend=None),
        description="label:N",
    )
    header = alt.Header(title=None, labelAngle=0, labelAlign="left", labelPadding=24, labelColor=TEXT, labelFontSize=12, labelLimit=170)
    layers = alt.layer(bars, dots, data=alt.NamedData(name="points")).properties(width=380, height=alt.Step(18))
    rows_ = layers.facet(row=alt.Row("file:N", sort=list(dict.fromkeys(point.file for point in drawn)), header=header), spacing=6)
    return draw(rows_, left=20, points=[_dot(point) for point in drawn])


def _dot(point: Point) -> dict[str, str | float]:
    low, high = point.interval or (point.value, point.value)
    label = f"{point.file} on {point.device}: {figures(point.value)} [{figures(low)}, {figures(high)}]"
    bounds = {"value": point.value, "low": low, "high": high, "filled": 0.9 if point.valid else 0.0}
    return {"file": point.file, "device": point.device, "label": label} | bounds
