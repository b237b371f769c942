"""The training curves: one line a model, with a mark where a stage begins."""

from collections.abc import Mapping, Sequence
from typing import Any

from edgedistill.report.svg import BLUE, GREY, ORANGE, TEXT, draw, rows
from edgedistill.report.values import figures, number, percent

_MODELS = {"teacher": (GREY, [6, 3]), "control": (ORANGE, [2, 2]), "student": (BLUE, [1, 0])}


def lines(curves: Mapping[str, Any], field: str, title: str) -> str | None:
    """`field` ("loss" or a score on val, "val_...") by epoch, counted over all stages of a model; None where no model has a value."""
    import altair as alt

    share = field.startswith("val_")
    points = [point for model in _MODELS for point in _points(model, curves.get(model) or [], field, share)]
    if not points:
        return None
    used = [model for model in _MODELS if any(point["model"] == model for point in points)]
    starts = [point for point in points if point["starts"]]
    axis = alt.Axis(tickMinStep=1, format="d", tickCount=6)
    x = alt.X("epoch:Q", title="epoch, counted over all stages", scale=alt.Scale(nice=False, zero=False), axis=axis)
    y = alt.Y("value:Q", title=title, scale=alt.Scale(zero=not share), axis=alt.Axis(format=".0%" if share else "~g", tickCount=5))
    legend = alt.Legend(symbolType="stroke", symbolSize=400)
    colour = alt.Color("model:N", title=None, legend=legend, scale=alt.Scale(domain=used, range=[_MODELS[model][0] for model in used]))
    dash = alt.StrokeDash("model:N", title=None, legend=legend, scale=alt.Scale(domain=used, range=[_MODELS[model][1] for model in used]))
    every, marks = rows("points").encode(x=x), rows("starts").encode(x=x)
    layers = [
        every.mark_line(strokeWidth=2).encode(y=y, color=colour, strokeDash=dash),
        every.mark_point(filled=True, size=14, opacity=1).encode(y=y, color=colour, description="label:N"),
        marks.mark_rule(strokeDash=[3, 3]),
        marks.mark_point(filled=True, shape="triangle-up", size=80, opacity=1).encode(y=y, color=colour, description="label:N"),
    ]
    # A score rises and loss falls, so the free corner for the names of stages is below or above.
    edge = {"align": "left", "dx": 4, "y": "height"} if share else {"align": "right", "dx": -4, "y": 0}
    layers.append(marks.mark_text(angle=270, baseline="top", dy=3, color=TEXT, fontSize=11, **edge).encode(text="stage:N"))
    return draw(alt.layer(*layers).properties(width=350, height=220), points=points, starts=starts)


def _points(model: str, epochs: Sequence[Mapping[str, Any]], field: str, share: bool) -> list[dict[str, Any]]:
    points: list[dict[str, Any]] = []
    several = len({epoch.get("stage") for epoch in epochs}) > 1
    last = None
    for index, epoch in enumerate(epochs, start=1):
        stage, value = str(epoch.get("stage")), number(epoch.get(field))
        if value is not None:
            label = f"{model}, epoch {index} ({stage}): {percent(value) if share else figures(value)}"
            points.append(
                {"model": model, "epoch": index, "value": value, "stage": stage, "starts": several and stage != last, "label": label}
            )
            last = stage
    return points
