"""The charts of measurements on devices: a load over time, and devices beside each other. Each returns an SVG, or None without data."""

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

from edgedistill.report.svg import BLUE, GREEN, GREY, ORANGE, PURPLE, TEXT, draw, rows
from edgedistill.report.values import figures, get, limits, number

MAX_LINES = 4
_HUES = (BLUE, ORANGE, GREEN, PURPLE)
_WIDTH = 640
# Where the slowest inference is so much slower than the usual one, a linear axis would show a flat line.
_LOGARITHMIC_FROM = 4.0

Line = tuple[str, Mapping[str, Any]]


def over_time(found: Mapping[str, Any]) -> str | None:
    """The panels of a load on one axis of time: latency, temperature, frequency, power and memory, those that were measured.

    found: the `stress` of a document. A dashed rule marks where it became slower.
    """
    import altair as alt

    timeline = found.get("timeline")
    if not isinstance(timeline, Mapping) or not get(timeline, "latency", "t_s"):
        return None
    data: dict[str, list[dict[str, Any]]] = {}
    onset = number(get(found, "throttling", "time_s"))
    data["onset"] = [{"t": onset, "label": f"slower after {figures(onset)} s"}] if onset is not None else []
    end = number(found.get("ran_s")) or max(timeline["latency"]["t_s"])
    kinds = [(title, height, lines) for title, height, pick in _PANELS if (lines := pick(timeline))]
    panels = []
    for index, (title, height, lines) in enumerate(kinds):
        last, name = index == len(kinds) - 1, f"panel{index}"
        data[name] = _rows(lines)
        panels.append(_panel(alt, name, title, height, [label for label, _ in lines], data[name], end, last=last, marked=onset is not None))
    whole = alt.vconcat(*panels, spacing=10).resolve_scale(color="independent")
    return draw(whole, 6, **data)


def _panel(
    alt: Any, name: str, title: str, height: int, labels: list[str], points: list[dict[str, Any]], end: float, *, last: bool, marked: bool
) -> Any:  # fmt: skip
    bare: dict[str, Any] = {} if last else {"labels": False, "ticks": False}
    axis = alt.Axis(title="seconds since the load began" if last else None, tickCount=8, **bare)
    x = alt.X("t:Q", scale=alt.Scale(domain=[0, end], nice=False), axis=axis)
    high, middle = max(row["high"] for row in points), median(row["median"] for row in points)
    wide = min(row["low"] for row in points) > 0 and high > _LOGARITHMIC_FROM * middle
    scale = alt.Scale(type="log", nice=False, padding=4) if wide else alt.Scale(zero=False, nice=False, padding=6)
    # The same width of labels in all panels keeps their axes of time below each other.
    y: dict[str, Any] = {
        "scale": scale,
        "title": title + (" (log)" if wide else ""),
        "axis": alt.Axis(tickCount=4, minExtent=34, **({"format": ",.3~r"} if wide else {})),
    }
    legend = None
    if len(labels) > 1:
        legend = alt.Legend(title=None, symbolType="stroke", symbolSize=300, symbolOpacity=1, columnPadding=26, offset=4)
    colour = alt.Color("line:N", legend=legend, scale=alt.Scale(domain=labels, range=list(_HUES[: len(labels)])))
    base = rows(name).encode(x=x)
    band = base.mark_area(opacity=0.22, aria=False).encode(y=alt.Y("low:Q", **y), y2="high:Q", color=colour)
    line = base.mark_line(strokeWidth=1.6, aria=False).encode(y=alt.Y("median:Q", **y), color=colour)
    layers = [band, line]
    if marked:
        marks = rows("onset").encode(x=alt.X("t:Q"))
        layers.append(marks.mark_rule(strokeDash=[5, 4], color=TEXT, strokeWidth=1.4).encode(description="label:N"))
    return alt.layer(*layers).properties(width=_WIDTH, height=height)


def _rows(lines: Sequence[Line]) -> list[dict[str, Any]]:
    return [
        {"line": label, "t": t, "low": low, "median": median, "high": high}
        for label, one in lines
        for t, low, median, high in zip(one["t_s"], one["low"], one["median"], one["high"], strict=True)
    ]


def _latency(timeline: Mapping[str, Any]) -> list[Line]:
    return [("latency", timeline["latency"])]


def _temperatures(timeline: Mapping[str, Any]) -> list[Line]:
    return _hottest([(name.removeprefix("temperature."), one) for name, one in timeline.items() if "temperature" in name])


def _frequencies(timeline: Mapping[str, Any]) -> list[Line]:
    """One line a cluster: cores that always have the same frequency are one."""
    clusters: dict[tuple[float, ...], tuple[list[str], Mapping[str, Any]]] = {}
    for name, one in timeline.items():
        if name.startswith("frequency."):
            clusters.setdefault(tuple(one["median"]), ([], one))[0].append(name.removeprefix("frequency."))
    return _hottest([(names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more", one) for names, one in clusters.values()])


def _power(timeline: Mapping[str, Any]) -> list[Line]:
    return _hottest([(name.removeprefix("power."), one) for name, one in timeline.items() if name.startswith("power.")])


def _current(timeline: Mapping[str, Any]) -> list[Line]:
    return [("battery", timeline["battery.current"])] if "battery.current" in timeline else []


def _memory(timeline: Mapping[str, Any]) -> list[Line]:
    found = [(name, one) for name, one in timeline.items() if name.startswith("memory.instance")]
    return [(f"instance {name.removeprefix('memory.instance')}", one) for name, one in found[:MAX_LINES]]


def _hottest(lines: list[Line]) -> list[Line]:
    """The lines that reach highest, as many as can be told apart, in the order of their names."""
    highest = sorted(lines, key=lambda line: -max(line[1]["high"]))[:MAX_LINES]
    return sorted(highest, key=lambda line: line[0])


_PANELS: tuple[tuple[str, int, Callable[[Mapping[str, Any]], list[Line]]], ...] = (
    ("latency, ms", 150, _latency),
    ("°C", 90, _temperatures),
    ("MHz", 80, _frequencies),
    ("W", 80, _power),
    ("mA", 70, _current),
    ("memory, MB", 80, _memory),
)


def beside(points: Sequence[Mapping[str, Any]], title: str, *, zero: bool = False) -> str | None:
    """Devices beside each other: a dot with its interval for each of `points` {"file", "device", "value", "interval", "valid"}.

    A group for each file, a line and a colour for each device; open dots are measurements that are not valid. zero: the axis begins at 0,
    otherwise it is logarithmic.
    """
    import altair as alt

    found: list[dict[str, Any]] = []
    for point in points:
        value = number(point["value"])
        if value is None or value <= 0:
            continue
        low, high = limits(point["interval"]) or (value, value)
        label = f"{point['file']} on {point['device']}: {figures(value)} [{figures(low)}, {figures(high)}]"
        told = {"file": str(point["file"]), "device": str(point["device"]), "value": value, "low": low, "high": high, "label": label}
        found.append(told | {"filled": 0.9 if point["valid"] else 0.0})
    if not found:
        return None
    devices = list(dict.fromkeys(row["device"] for row in found))
    hues = [*_HUES[: len(devices)], *[GREY] * (len(devices) - len(_HUES))]
    scale = alt.Scale(zero=True, nice=True) if zero else alt.Scale(type="log", nice=False, padding=14)
    x: dict[str, Any] = {"title": title, "scale": scale, "axis": alt.Axis(format="~g", tickCount=6)}
    y = alt.Y("device:N", sort=devices, title=None, axis=alt.Axis(labels=False, ticks=False, grid=True))
    colour: dict[str, Any] = {"legend": alt.Legend(title=None, columns=2, columnPadding=26), "scale": alt.Scale(domain=devices, range=hues)}
    # A facet divides its own data among the rows, so the layers have none.
    base = alt.Chart().encode(y=y)
    bars = base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", **x), x2="high:Q", color=alt.Color("device:N", **colour))
    dots = base.mark_point(size=80, strokeWidth=2, opacity=1).encode(
        x=alt.X("value:Q", **x),
        stroke=alt.Stroke("device:N", **colour),
        fill=alt.Fill("device:N", **colour),
        fillOpacity=alt.FillOpacity("filled:Q", scale=None, legend=None),
        description="label:N",
    )
    header = alt.Header(title=None, labelAngle=0, labelAlign="left", labelPadding=24, labelColor=TEXT, labelFontSize=12, labelLimit=170)
    layers = alt.layer(bars, dots, data=alt.NamedData(name="points")).properties(width=380, height=alt.Step(18))
    rows_ = layers.facet(row=alt.Row("file:N", sort=list(dict.fromkeys(row["file"] for row in found)), header=header), spacing=6)
    return draw(rows_, left=20, points=found)
