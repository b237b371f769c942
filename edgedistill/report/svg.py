"""Turn an Altair chart into one inline SVG.

Charts are drawn once, here, rather than in the reader's browser: the page then needs no script, so it opens under the strictest
content policy, prints as it looks, and is smaller than the Vega bundle alone. Colours are CSS variables, so charts follow light and dark.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

TEXT, MUTED, GRID = "var(--text)", "var(--muted)", "var(--grid)"
# Okabe-Ito hues; style.css gives the light and dark shade of each.
BLUE, ORANGE, GREEN, PURPLE, GREY = "var(--blue)", "var(--orange)", "var(--green)", "var(--purple)", "var(--muted)"

_LABELLED = re.compile(
    r'<(path|text|line|rect)(?: aria-hidden="false")? aria-label="([^"]*)" role="graphics-symbol"([^>]*?)(?:/>|>([^<]*)</\1>)'
)
_ROLES = re.compile(r' (?:aria-[a-z]+|role|pointer-events|class)="[^"]*"')
_EMPTY = re.compile(r'<path d="M0,0h0v0h0Z"/>|<path d=""(?: display="none")?/>')


def rows(name: str) -> Any:
    """A chart over the rows that `draw` is given under `name`.

    Rows stay out of Altair, which would validate and copy each of them for every layer.
    """
    import altair as alt

    return alt.Chart(alt.NamedData(name=name))


def draw(chart: Any, left: int = 6, **datasets: Sequence[Mapping[str, Any]]) -> str:
    """The SVG of `chart` over `datasets`: scalable, without identifiers or links; a mark with a description has it as its tooltip.

    `left` is room in pixels beside the axis: the reader's font may be wider than the one that the layout was measured with.
    """
    import vl_convert

    spec = chart.configure(**_config(left)).to_dict(validate=False) | {"datasets": datasets}
    svg = vl_convert.vegalite_to_svg(spec, allowed_base_urls=[])
    svg = _LABELLED.sub(r"<\1\3>\4<title>\2</title></\1>", svg)
    svg = _EMPTY.sub("", _ROLES.sub("", svg))
    # Inside HTML the name spaces are implied; without width and height the drawing fills its figure.
    head = re.compile(r'<svg [^>]*?width="([\d.]+)" height="([\d.]+)" viewBox="([^"]*)"[^>]*>')
    return head.sub(r'<svg viewBox="\3" style="max-width: calc(1.35 * \1px)">', svg, count=1)


def _config(left: int) -> dict[str, Any]:
    labels = {
        "labelColor": TEXT,
        "titleColor": TEXT,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelLimit": 170,
    }
    return {
        "background": "transparent",
        "font": "system-ui, sans-serif",
        "axis": labels | {"gridColor": GRID, "domainColor": MUTED, "tickColor": MUTED, "titlePadding": 8},
        "legend": labels | {"symbolStrokeWidth": 2, "orient": "top", "columns": 4},
        "title": {"color": TEXT, "fontSize": 13, "fontWeight": 600, "anchor": "start"},
        "view": {"stroke": GRID},
        "text": {"color": TEXT},
        "rule": {"color": MUTED},
        "padding": {"left": left, "right": 8, "top": 4, "bottom": 4},
    }
