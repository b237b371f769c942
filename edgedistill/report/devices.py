"""The part of a report about devices, and a page of its own for measurements without a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgedistill import files
from edgedistill.measure.problems import problems
from edgedistill.report import device_charts, device_tables
from edgedistill.report.templates import environment, shown
from edgedistill.report.values import LEVEL, get, number

SCHEMA = "edgedistill/measurement/1"
_MIN_POINTS = 5


def write_device_report(documents: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Write a page about measurements to `path`, atomically, and return `path`. Raises UserError for documents of another schema."""
    files.write_text(path, render_devices(documents))
    return path


def render_devices(documents: Sequence[Mapping[str, Any]]) -> str:
    """The page about measurements (schema edgedistill/measurement/1) as one self-contained HTML document."""
    from edgedistill.errors import UserError

    for one in documents:
        if one.get("schema") != SCHEMA:
            raise UserError(f"measurement: schema is {one.get('schema')!r}, but this version reads {SCHEMA!r}; measure again")
    names = sorted({str(get(one, "device", "spec")) for one in documents})
    notes: list[str] = []
    return (
        environment()
        .get_template("devices_page.html.j2")
        .render(
            level=LEVEL,
            name=f"Measured on {', '.join(names)}",
            devices=section(documents),
            notes=notes,
            shown=lambda cell: shown(cell, notes),
        )
    )


def section(documents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the template part devices.html.j2 takes as `devices`: tables, charts beside each other, and each load over time."""
    from markupsafe import Markup

    benches = [one for one in documents if one.get("kind") == "bench"]
    loads = [one for one in documents if one.get("kind") == "stress"]
    latency = device_charts.beside([_latency(one) for one in benches], "median latency, ms (logarithmic)") if benches else None
    kept = device_charts.beside([_kept(one) for one in loads], "sustained of initial throughput", zero=True) if len(loads) > 1 else None
    return {
        "tables": {
            "devices": device_tables.devices(documents),
            "benches": device_tables.benches(documents),
            "loads": device_tables.loads(documents),
            "compared": device_tables.compared(documents),
        },
        "reasons": device_tables.reasons(documents),
        "latency": Markup(latency) if latency else None,
        "kept": Markup(kept) if kept else None,
        "loads": [_load(one) for one in loads],
        "courses": [found for one in benches if (found := _course(one))],
    }


def _course(one: Mapping[str, Any]) -> dict[str, Any] | None:
    """A benchmark over time; None for one that was too short for its sensors to draw a line."""
    from markupsafe import Markup

    lines = one.get("timeline") or {}
    known = [line for name, line in lines.items() if name.startswith(("temperature.", "frequency.")) and len(line["t_s"]) >= _MIN_POINTS]
    chart = device_charts.over_time({"timeline": lines}) if known else None
    title = f"{get(one, 'artifact', 'name')} on {get(one, 'device', 'spec')}"
    return {"title": title, "chart": Markup(chart)} if chart else None


def _load(one: Mapping[str, Any]) -> dict[str, Any]:
    from markupsafe import Markup

    found = one.get("stress")
    known = found if isinstance(found, Mapping) else {}
    chart = device_charts.over_time(known)
    return {
        "title": f"{get(one, 'artifact', 'name')} on {get(one, 'device', 'spec')}",
        "text": str(get(known, "throttling", "text")) if "throttling" in known else "",
        "throttled": number(get(known, "throttling", "time_s")) is not None,
        "chart": Markup(chart) if chart else None,
        "why": str(known.get("unavailable", "no timeline was recorded")),
        "minutes": device_tables.minutes(known),
        "wrong": problems(known),
    }


def _latency(one: Mapping[str, Any]) -> dict[str, Any]:
    return _point(one, get(one, "latency_ms", "p50"), get(one, "intervals_ms", "p50"))


def _kept(one: Mapping[str, Any]) -> dict[str, Any]:
    return _point(one, get(one, "stress", "throughput", "ratio"), get(one, "stress", "throughput", "ratio", "interval"))


def _point(one: Mapping[str, Any], value: Any, bounds: Any) -> dict[str, Any]:
    where = {"file": get(one, "artifact", "name"), "device": get(one, "device", "spec")}
    return where | {"value": value, "interval": bounds, "valid": one.get("validity") == "valid"}
