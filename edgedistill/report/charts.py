"""The charts of results: the ladder, the score against cost, and those that a task asks for. Each returns an SVG, or None without data."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from edgedistill.backends import formats
from edgedistill.recipe.precisions import is_float
from edgedistill.report.svg import BLUE, GREEN, GREY, MUTED, ORANGE, PURPLE, TEXT, draw, rows
from edgedistill.report.values import executed_by, figures, get, integer, limits, number, percent

MANY = 20
_STYLES = ((BLUE, "circle"), (GREEN, "triangle-up"), (PURPLE, "diamond"), (ORANGE, "square"), (ORANGE, "cross"), (GREY, "circle"))
"""What marks a format, by its place among the formats; from the last on all are marked alike."""
_RUNNERS = {"pytorch": (GREY, "circle"), "own_runtime": (BLUE, "square"), "mil_float64": (ORANGE, "diamond")}
_RUNNERS |= {"mil_float16": (PURPLE, "diamond"), "pytorch_float64": (GREY, "square"), "pytorch_integer": (GREEN, "circle")}


def ladder(rungs: Sequence[Mapping[str, Any]], metric: str) -> str | None:
    """The score on val at each rung, with its interval; colour and shape say what executed it."""
    import altair as alt

    points: list[dict[str, Any]] = []
    for rung in rungs:
        value = number(get(rung, "score", "val"))
        if value is None:
            continue
        by = executed_by(rung.get("executed_by"))
        low, high = limits(get(rung, "score", "val", "interval")) or (value, value)
        label = f"{rung['rung']}: {percent(value)}, {percent(low)} to {percent(high)}, executed by {by}"
        points.append({"rung": str(rung["rung"]), "value": value, "low": low, "high": high, "by": by, "label": label})
    if not points:
        return None
    used, hues, shapes = _styles(_RUNNERS, [row["by"] for row in points])
    order = [row["rung"] for row in points]
    y = alt.Y("rung:N", sort=order, title=None, axis=alt.Axis(grid=True, ticks=False, labelPadding=6))
    scale = alt.Scale(zero=False, nice=True)
    # In two columns four names fit the width of the chart; the padding is for fonts that are wider than the one that was measured.
    legend = alt.Legend(columns=2, columnPadding=30)
    colour = alt.Color("by:N", title="executed by", legend=legend, scale=alt.Scale(domain=used, range=hues))
    base = rows("points")
    # Only the points carry the colour channel, so that the legend shows one symbol for each runner.
    bars = base.mark_rule(strokeWidth=2, color=MUTED).encode(
        x=alt.X("low:Q", scale=scale, title=f"{metric} on val", axis=alt.Axis(format=".1%", tickCount=4, labelSeparation=14)),
        x2="high:Q",
        y=y,
    )
    dots = base.mark_point(filled=True, size=90, opacity=1).encode(
        x=alt.X("value:Q", scale=scale),
        y=y,
        color=colour,
        shape=alt.Shape("by:N", title="executed by", legend=legend, scale=alt.Scale(domain=used, range=shapes)),
        description="label:N",
    )
    return draw((bars + dots).properties(width=260, height=alt.Step(25)), left=26, points=points)


def against(
    artifacts: Sequence[Mapping[str, Any]], metric: str, quantity: Sequence[str], factor: float, unit: str, title: str
) -> str | None:
    """The score on val against `quantity` (a path into each artifact, times `factor`, in `unit`), on a logarithmic axis."""
    import altair as alt

    points: list[dict[str, Any]] = []
    for artifact in artifacts:
        cost, score = number(get(artifact, *quantity)), number(get(artifact, "score", "val"))
        if cost is None or cost <= 0 or score is None:
            continue
        cost *= factor
        label = f"{artifact['name']} ({artifact.get('precision')}): {percent(score)} on val, {figures(cost)} {unit}"
        teacher, filled = artifact.get("role") == "teacher", not is_float(artifact.get("precision"))
        points.append(
            {
                "cost": cost,
                "score": score,
                "format": str(artifact.get("format")),
                "label": label,
                "teacher": teacher,
                "filled": 0.8 if filled else 0,
                "size": 100 if filled else 180,
            }
        )
    if not points:
        return None
    used, hues, shapes = _styles(_format_styles(), [row["format"] for row in points])
    costs, scores = [row["cost"] for row in points], [row["score"] for row in points]
    # A margin keeps the symbols off the frame, and a single value off a scale without extent.
    margin = max(0.15 * (max(scores) - min(scores)), 0.004)
    left, right = min(costs) / 1.4, max(costs) * 1.4
    axis = alt.Axis(values=_decades(left, right), format="~g")
    x = alt.X("cost:Q", title=title, scale=alt.Scale(type="log", nice=False, domain=[left, right]), axis=axis)
    y = alt.Y(
        "score:Q",
        title=f"{metric} on val",
        scale=alt.Scale(domain=[min(scores) - margin, min(max(scores) + margin, 1.004)]),
        axis=alt.Axis(format=".1%", tickCount=5),
    )
    base = rows("points").encode(x=x, y=y)
    # Filled symbols of quantized ones are smaller than the open ones, so that artifacts which lie on each other all stay visible.
    symbols = base.mark_point(strokeWidth=2, opacity=1).encode(
        stroke=alt.Stroke("format:N", title=None, scale=alt.Scale(domain=used, range=hues)),
        fill=alt.Fill("format:N", title=None, scale=alt.Scale(domain=used, range=hues)),
        shape=alt.Shape("format:N", title=None, scale=alt.Scale(domain=used, range=shapes)),
        fillOpacity=alt.FillOpacity("filled:Q", scale=None, legend=None),
        size=alt.Size("size:Q", scale=None, legend=None),
        description="label:N",
    )
    name = base.transform_filter("datum.teacher").mark_text(dx=-14, align="right", baseline="middle", text="teacher")
    return draw((symbols + name).properties(width=350, height=230), points=points)


def confusion(block: Mapping[str, Any]) -> str | None:
    """Of a `ConfusionMatrix`: rows are what is true, columns what was predicted, and shade is the share of the row.

    Up to MANY names, cells have their counts.
    """
    import altair as alt

    names = [str(name) for name in block["names"]]
    points: list[dict[str, Any]] = []
    for true, counts in zip(names, block["counts"], strict=False):
        total = sum(number(count) or 0 for count in counts)
        for guess, count in zip(names, counts, strict=False):
            samples = number(count)
            # Empty cells are the background: a page with 100 names would else hold 10 000 of them.
            if samples:
                points.append(
                    {
                        "true": true,
                        "guess": guess,
                        "n": integer(samples),
                        "shade": 0.15 + 0.85 * samples / total,
                        "label": f"true {true}, predicted {guess}: {integer(samples)}",
                    }
                )
    if not points:
        return None
    many, brief = len(names) > MANY, max(map(len, names)) <= 3
    axis: dict[str, Any] = {
        "ticks": False,
        "domain": False,
        "grid": False,
        "labelLimit": 90,
        "labelPadding": 4,
        "titlePadding": 8 if brief else 24,
    }
    if many:
        axis["values"] = names[:: math.ceil(len(names) / MANY)]
    scale = alt.Scale(domain=names, paddingInner=0.0 if many else 0.06)
    x = alt.X(
        "guess:N", scale=scale, title="predicted", axis=alt.Axis(**axis, labelAngle=0 if brief and not many else -60, orient="bottom")
    )
    y = alt.Y("true:N", scale=scale, title="true", axis=alt.Axis(**axis))
    base = rows("points").encode(x=x, y=y)
    cells = base.mark_rect(color=BLUE, aria=not many).encode(
        opacity=alt.Opacity("shade:Q", scale=None, legend=None), **({} if many else {"description": alt.Description("label:N")})
    )
    layers = cells
    if not many:
        ink = alt.condition("datum.shade > 0.6", alt.value("var(--on-blue)"), alt.value(TEXT))
        layers = cells + base.mark_text(fontSize=12 if len(names) <= 12 else 9).encode(text="n:N", color=ink)
    return draw(layers.properties(width=360, height=360, view=alt.ViewConfig(fill="var(--cell)", stroke=MUTED)), left=18, points=points)


def reliability(block: Mapping[str, Any]) -> str | None:
    """Of a `ReliabilityDiagram`: accuracy in each bin of confidence as bars, mean confidence as points whose size is the number of samples,
    and the diagonal."""
    import altair as alt

    points: list[dict[str, Any]] = []
    for entry in block["bins"]:
        low, high, count = (number(entry.get(key)) for key in ("low", "high", "count"))
        sure, right = number(entry.get("confidence")), number(entry.get("accuracy"))
        if low is None or high is None or not count or sure is None or right is None:
            continue
        label = f"{integer(count)} samples of confidence {figures(low)} to {figures(high)}: mean {percent(sure)}, accuracy {percent(right)}"
        points.append({"low": low, "high": high, "zero": 0, "count": count, "sure": sure, "right": right, "label": label})
    if not points:
        return None
    unit = alt.Scale(domain=[0, 1])
    axis = alt.Axis(format=".0%", tickCount=5)
    x = alt.X("low:Q", scale=unit, axis=axis, title="confidence")
    bars = (
        rows("points")
        .mark_rect(color=BLUE, opacity=0.35, stroke=BLUE)
        .encode(x=x, x2="high:Q", y=alt.Y("zero:Q", scale=unit), y2="right:Q", description="label:N")
    )
    line = (
        rows("diagonal")
        .mark_rule(strokeDash=[5, 4], color=TEXT)
        .encode(x=alt.X("from:Q", scale=unit), x2="to:Q", y=alt.Y("from:Q", scale=unit, axis=axis, title="accuracy"), y2="to:Q")
    )
    size = alt.Size(
        "count:Q",
        title="samples",
        scale=alt.Scale(range=[25, 300], zero=False),
        legend=alt.Legend(tickCount=3, symbolFillColor=ORANGE, symbolStrokeColor=ORANGE),
    )
    dots = (
        rows("points")
        .mark_point(filled=True, color=ORANGE, opacity=0.9)
        .encode(x=alt.X("sure:Q", scale=unit), y=alt.Y("right:Q", scale=unit), size=size, description="label:N")
    )
    return draw((bars + line + dots).properties(width=330, height=330), points=points, diagonal=[{"from": 0, "to": 1}])


def chart(block: Mapping[str, Any]) -> str | None:
    """The lines of a `Chart` of a task."""
    import altair as alt

    points = [{"line": name, "x": x, "y": y} for name, line in block["series"].items() for x, y in line]
    if not points:
        return None
    used, hues = list(block["series"]), [hue for hue, _ in _STYLES]
    legend = alt.Legend(symbolType="stroke") if len(used) > 1 else None
    scale = alt.Scale(domain=used, range=[hues[place % len(hues)] for place in range(len(used))])
    base = rows("points").encode(
        x=alt.X("x:Q", title=block["x"], scale=alt.Scale(zero=False)),
        y=alt.Y("y:Q", title=block["y"], scale=alt.Scale(zero=False)),
        color=alt.Color("line:N", title=None, legend=legend, scale=scale),
    )
    return draw((base.mark_line(strokeWidth=2) + base.mark_point(filled=True, size=24)).properties(width=350, height=230), points=points)


def _styles(known: Mapping[str, tuple[str, str]], names: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """The names in use, in the order of `known`, with the colour and the shape of each; grey crosses where a name is not known."""
    used = [name for name in known if name in names] + sorted(set(names) - set(known))
    return used, [known.get(name, (GREY, "cross"))[0] for name in used], [known.get(name, (GREY, "cross"))[1] for name in used]


def _format_styles() -> dict[str, tuple[str, str]]:
    return {name: _STYLES[min(place, len(_STYLES) - 1)] for place, name in enumerate(formats())}


def _decades(low: float, high: float) -> list[float]:
    """Ticks at 1, 2 and 5 times powers of ten between `low` and `high`; only powers of ten where these would be too many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    fine = [m * 10.0**p for p in powers for m in (1, 2, 5) if low <= m * 10.0**p <= high]
    return fine if len(fine) <= 7 else [10.0**p for p in powers if low <= 10.0**p <= high]
