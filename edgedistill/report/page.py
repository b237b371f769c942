"""Compose the report of one run from its summary."""

import datetime
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgedistill import files
from edgedistill.errors import UserError
from edgedistill.records.summary import SUMMARY, Summary
from edgedistill.report import charts, costs, curves, delegation, devices, layers, ranges, sections, sensitivity, tables
from edgedistill.report.templates import environment, shown
from edgedistill.report.values import (
    LEVEL,
    Cell,
    figures,
    finite,
    get,
    integer,
    number,
    reason,
    score,
    seconds,
    show,
    words,
)


def write_report(summary: Summary, path: Path) -> Path:
    """Write the report of `summary` to `path`, atomically, and return `path`."""
    files.write_text(path, render(summary.model_dump(mode="json")))
    return path


def render(summary: Mapping[str, Any]) -> str:
    """The report of a summary's document (schema edgedistill/summary/2) as one self-contained HTML document.

    Parts that the document lacks are shown as unavailable with the reason. Raises UserError for another schema.
    """
    if summary.get("schema") != SUMMARY:
        schema = summary.get("schema")
        raise UserError(f"summary: schema is {schema!r}, but this version reads {SUMMARY!r}; write it again with `edgedistill run`")
    notes: list[str] = []
    return (
        environment()
        .get_template("template.html.j2")
        .render(
            summary=summary,
            name=words(summary.get("name")).text,
            ok=summary.get("status") == "ok",
            command=words(summary.get("command")).text,
            recipe_path=words(get(summary, "recipe", "path")).text,
            level=LEVEL,
            distilled=_distilled(summary),
            scored=_scored(summary),
            metric=tables.title(summary),
            described=get(summary, "metric", "described"),
            words=_words(summary),
            shown=lambda cell: shown(cell, notes),
            notes=notes,
            failures=summary.get("failed") or [],
            warnings=summary.get("warnings") or [],
            judged=any(isinstance(a.get("ok"), bool) for a in [*(summary.get("artifacts") or []), *(summary.get("pairs") or [])]),
            ship=_ship(summary),
            devices=devices.section(summary.get("devices") or []),
            verdict=_verdict(summary),
            header=_header(summary),
            tables=_tables(summary),
            layers=layers.tables(summary),
            charts=_charts(summary),
            sections=sections.sections(summary),
            sensitivity=sensitivity.sentences(summary),
            not_plotted=_not_plotted(summary),
            memory=list(dict.fromkeys(str(a["peak_rss_source"]) for a in summary.get("artifacts") or [] if a.get("peak_rss_source"))),
            recipe=_yaml(get(summary, "recipe", "effective")),
            why={key: reason(summary.get(key)) for key in ("artifacts", "ladder", "curves", "pairs")}
            | {"int8": reason(get(summary, "ranges", "int8"))},
        )
    )


def _scored(summary: Mapping[str, Any]) -> bool:
    """Whether any score is known."""
    scores = [get(rung, "score", "val", "value") for rung in summary.get("ladder") or []]
    return not scores or any(number(score) is not None for score in scores)


def _words(summary: Mapping[str, Any]) -> dict[str, str]:
    """What the task calls its things; a summary that lacks them has plain words."""
    return {"sample": "sample", "samples": "samples", "targets": "targets", "decision": "prediction"} | (summary.get("words") or {})


def _ship(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """For each target which artifact to ship, with the reasons, what else fits, and what is missing."""
    return [
        {
            "target": target,
            "name": get(ship, "first", "name") if ship.get("order") else None,
            "why": reason(ship["first"]) if not ship.get("order") else "",
            "reasons": ship["first"].get("reasons") or [],
            "others": [other["name"] for other in ship.get("others") or []],
            "missing": ship.get("missing") or [],
        }
        for target, ship in (summary.get("ship") or {}).items()
    ]


def _verdict(summary: Mapping[str, Any]) -> dict[str, str]:
    verdict = summary.get("verdict") or {}
    outcome = str(verdict.get("outcome") or "unavailable")
    title = {"helped": "Distillation helped", "no_difference": "Distillation made no difference", "hurt": "Distillation hurt"}.get(
        outcome, "No verdict"
    )
    sample = (
        f" on {verdict['split']} (n = {integer(number(verdict.get('n')) or 0)})"
        if verdict.get("split") and number(verdict.get("n"))
        else ""
    )
    return {
        "outcome": outcome,
        "title": title,
        "text": str(verdict.get("text") or ""),
        "difference": tables.difference(verdict),
        "sample": sample,
    }


def _header(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    data = summary.get("data")
    parts = summary.get("seconds") or {}
    known = [number(value) or 0 for name, value in parts.items() if name != "total"]
    total = parts.get("total", sum(known) if known else None)
    return [
        ("Run", words(summary.get("run")).text),
        ("Created", _date(summary.get("created"))),
        ("Data", _data(summary) if data else words(data).text),
        *(_teaching(summary) if _distilled(summary) else [("Model", words(get(summary, "recipe", "effective", "student", "torch")).text)]),
        ("Time", show(total, seconds).text + ", the sum of all steps"),
    ]


def _distilled(summary: Mapping[str, Any]) -> bool:
    """Whether a teacher taught; a summary that lacks its part does not say so."""
    return "teacher" not in summary or summary["teacher"] is not None


def _teaching(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    teacher = summary.get("teacher")
    return [
        ("Teacher", _teacher(summary) if teacher else words(teacher).text),
        *_taught(summary),
        ("Calibration", _calibration(get(summary, "state", "temperature"))),
    ]


def _taught(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is in the teaching set; nothing where no answers were cached."""
    teaching_set = get(summary, "teacher", "members", "teaching_set")
    if not isinstance(teaching_set, Mapping) or "unavailable" in teaching_set:
        return []
    count = {key: show(teaching_set.get(key), integer).text for key in ("samples", "views")}
    parts = [f"{count['samples']} {_words(summary)['samples']}, {count['views']} views of each", str(teaching_set.get("text") or "")]
    return [("Teaching set", "; ".join(part for part in parts if part))]


def _calibration(temperature: Any) -> str:
    if not isinstance(temperature, Mapping) or "unavailable" in temperature:
        return words(temperature).text
    if all(value == 1 for value in temperature.values()):
        return "outputs are as trained"
    parts = [f"{show(value, figures).text} ({name})" for name, value in temperature.items()]
    return "outputs are divided by " + ", ".join(parts) + ", fitted on val"


def _data(summary: Mapping[str, Any]) -> str:
    splits = get(summary, "data", "splits")
    parts = [words(get(summary, "data", "source")).text, *(get(summary, "data").get("described") or [])]
    if isinstance(splits, Mapping) and "unavailable" not in splits:
        parts.append(", ".join(f"{name} {show(n, integer).text}" for name, n in splits.items()))
    return "; ".join(parts)


def _teacher(summary: Mapping[str, Any]) -> str:
    teacher = summary["teacher"]
    scores = get(teacher, "score")
    value = scores.get("val", scores) if isinstance(scores, Mapping) else {"value": scores}
    parts = [words(get(teacher, "model")).text]
    if number(get(teacher, "parameters")) is not None:
        parts.append(f"{show(get(teacher, 'parameters'), integer).text} parameters")
    return "; ".join([*parts, f"{tables.title(summary)} on val {score(value).text}"])


def _date(text: Any) -> str:
    try:
        return datetime.datetime.fromisoformat(str(text)).strftime("%Y-%m-%d %H:%M %Z").strip()
    except ValueError:
        return words(text).text


def _tables(summary: Mapping[str, Any]) -> dict[str, tables.Table]:
    environment = summary.get("environment") or {}
    machine = [(key, words(environment.get(key))) for key in ("platform", "cpu", "cores", "python")]
    flags = environment.get("cpu_flags")
    machine.append(("CPU flags", Cell(" ".join(map(str, flags))) if isinstance(flags, list) and flags else words(flags or None)))
    hashes = [("recipe", words(get(summary, "recipe", "sha256"))), ("data", words(get(summary, "data", "sha256")))]
    hashes.insert(1, ("effective recipe", words(get(summary, "recipe", "effective_sha256"))))
    hashes.append(("quantized state", words(get(summary, "state", "sha256"))))
    hashes += [(str(a.get("name")), words(a.get("sha256"))) for a in tables.by_format(summary)]
    packages = environment.get("packages") if isinstance(environment.get("packages"), Mapping) else {}
    return {
        "overview": tables.overview(summary),
        "ladder": tables.ladder(summary),
        "sets": tables.ladder_of_sets(summary),
        "teachers": tables.teachers(summary),
        "disagreement": tables.disagreement(summary),
        "parity": tables.parity(summary),
        "outputs": tables.outputs(summary),
        "pairs": tables.pairs(summary),
        "measurements": tables.measurements(summary),
        "delegation": delegation.table(summary),
        "float16": ranges.float16(summary),
        "int8": ranges.int8(summary),
        "quantization": costs.quantization(summary),
        "sensitivity": sensitivity.table(summary),
        "lowering": costs.lowering(summary),
        "epochs": tables.epochs(summary),
        "machine": tables.facts("Machine", ("what", "value"), machine),
        "packages": tables.facts(
            "Packages", ("package", "version"), [(str(name), words(version)) for name, version in (packages or {}).items()]
        ),
        "hashes": tables.facts("SHA-256", ("of", "hash"), hashes),
        "seconds": tables.facts(
            "Time by step", ("step", "time"), [(str(k), show(v, seconds)) for k, v in (summary.get("seconds") or {}).items()]
        ),
        "bundles": tables.facts("Bundles", ("target", "folder"), [(str(k), words(v)) for k, v in (summary.get("bundles") or {}).items()]),
    }


def _charts(summary: Mapping[str, Any]) -> dict[str, object]:
    """Each chart as markup that the template may insert as it is: Vega escapes every text in its SVG."""
    from markupsafe import Markup

    artifacts, metric = summary.get("artifacts") or [], tables.title(summary)
    svgs = {
        "ladder": charts.ladder(summary.get("ladder") or [], metric),
        "latency": charts.against(artifacts, metric, ("latency_ms", "p50"), 1, "ms", "median latency, ms (logarithmic)"),
        "size": charts.against(artifacts, metric, ("bytes",), 1e-6, "MB", "file size, MB (logarithmic)"),
        "loss": curves.lines(summary.get("curves") or {}, "loss", "training loss"),
        "val": curves.lines(summary.get("curves") or {}, f"val_{tables.metric(summary)}", f"{metric} on val"),
    }
    return {name: Markup(svg) if svg else None for name, svg in svgs.items()}


def _not_plotted(summary: Mapping[str, Any]) -> list[str]:
    """Artifacts that the latency chart cannot show, with the reason."""
    names: dict[str, list[str]] = {}
    for artifact in tables.by_format(summary):
        latency = get(artifact, "latency_ms", "p50")
        if number(latency) is None:
            names.setdefault(reason(latency), []).append(str(artifact.get("name")))
    return [f"{', '.join(group)} ({why})" for why, group in names.items()]


def _yaml(effective: Any) -> str:
    from ruamel.yaml import YAML

    if not isinstance(effective, Mapping) or not effective:
        return f"unavailable: {reason(effective)}"
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    stream = io.StringIO()
    writer.dump(finite(effective), stream)
    return stream.getvalue()
