"""What each layer's int8 weights cost, what leaving one in floating point takes, and the table and sentences of both."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from edgedistill.records import ArtifactResult, Latency, Unavailable
from edgedistill.records.steps import FilePrice, LayerCost, Sensitivity
from edgedistill.report.tables import Summary, Table, title
from edgedistill.report.values import Cell, figures, integer, interval, lost, number, percent, points, show

_NOT_SCANNED = "not scanned; the run is of an older version"
_COSTLIEST = 12


def priced(scan: Sensitivity | None, artifacts: Iterable[ArtifactResult]) -> Sensitivity | Unavailable:
    """The record of a scan (see verify/mixed_precision.py) with `files`: bytes and median latency of the int8 artifacts.

    Where layers were left in floating point these are those of the mixed files, as measured. Where one is only proposed, `added_bytes` and
    `added_ms` are estimates: the larger weights, and its share of the multiply-accumulates times what int8 saves against the twin.
    """
    if scan is None:
        return Unavailable(unavailable=_NOT_SCANNED)
    proposed = bool(scan.chosen) and not scan.applied
    chosen = [a for a in artifacts if a.precision == "int8" and a.role == "student"]
    return scan.model_copy(update={"files": [_priced(a, scan.chosen if proposed else []) for a in chosen]})


def _priced(artifact: ArtifactResult, proposed: Sequence[LayerCost]) -> FilePrice:
    latency, cost = artifact.latency_ms, artifact.quantization
    ours = latency.p50 if isinstance(latency, Latency) else latency
    file = FilePrice(name=artifact.name, bytes=artifact.bytes, p50_ms=ours)
    if not proposed:
        return file
    speedup = cost.speedup if cost is not None else None
    added: float | Unavailable = Unavailable(unavailable="not both this file and its twin were timed")
    if isinstance(ours, float) and isinstance(speedup, float):
        added = ours * (speedup - 1) * sum(layer.macs_share for layer in proposed)
    return file.model_copy(update={"added_bytes": sum(layer.bytes for layer in proposed), "added_ms": added})


def table(summary: Summary) -> Table:
    """The layers by what they cost, the costliest first."""
    scan = summary.get("sensitivity") or {}
    chosen = {layer["node"] for layer in scan.get("chosen") or []}
    headers = ("layer", "kind", f"{distance(summary)} with it alone in float", "flips", "SQNR, dB", "bytes more", "share of MACs", "chosen")
    rows = [_row(layer, scan, layer["node"] in chosen) for layer in (scan.get("layers") or [])[:_COSTLIEST]]
    return Table("Sensitivity: each layer alone in floating point, on val", headers, rows)


def _row(layer: Mapping[str, Any], scan: Mapping[str, Any], chosen: bool) -> list[Cell]:
    sqnr = layer.get("sqnr_db")
    return [
        Cell(str(layer["layer"]), "code"),
        Cell(str(layer["kind"])),
        show(layer["distance"], figures),
        Cell("–") if layer["flips"] is None else Cell(f"{integer(layer['flips'])} of {integer(scan['n'])}", "number"),
        Cell("none") if sqnr is None else Cell(figures(sqnr), "number"),
        show(layer["bytes"], integer),
        show(layer["macs_share"], percent),
        Cell(("in float" if scan["applied"] else "proposed") if chosen else "–"),
    ]


def distance(summary: Summary) -> str:
    """What the task measures distances of outputs by."""
    return str((summary.get("words") or {}).get("distance", "distance"))


def sentences(summary: Summary) -> list[str]:
    """What was found, what is proposed or was done, and what it takes; nothing where no scan was made."""
    scan = summary.get("sensitivity") or {}
    if not scan.get("layers"):
        return []
    int8, best, chosen = scan["int8"], scan["layers"][0], scan["chosen"]
    costliest = f"{best['layer']} costs most: with it alone in float32 the {distance(summary)} is {figures(best['distance'])}"
    lines = [f"All layers in int8: {_distance(int8, summary)}. {costliest}."]
    size, share = (sum(layer[key] for layer in chosen) for key in ("bytes", "macs_share"))
    takes = f"{integer(size)} bytes and {percent(share)} of the multiply-accumulates"
    if scan["applied"]:
        names = ", ".join(layer["layer"] for layer in chosen)
        lines.append(f"In float32: {names}. That takes {takes}, and leaves {_distance(scan['result'], summary)}.")
    elif chosen:
        lines.append(f"Proposed: quantize: {{mixed: auto}} leaves {best['layer']} in float32, for {takes}{_estimates(scan['files'])}.")
    lines.append(_stopped(scan, summary))
    return [text for text in lines if text]


def _distance(of: Mapping[str, Any], summary: Summary) -> str:
    gap, name, n = of.get("gap"), title(summary), summary["sensitivity"]["n"]
    behind = "" if gap is None else f", {name} {lost(100 * gap['difference'])} points below, {interval(gap['interval'], points)}"
    flips = "" if of["flips"] is None else f", {integer(of['flips'])} of {integer(n)} flips"
    return f"{distance(summary)} {figures(of['distance'])} from the student in floating point{flips}{behind}"


def _estimates(files: list[Mapping[str, Any]]) -> str:
    known = [(f, added) for f in files if (added := number(f.get("added_ms"))) is not None]
    estimates = [f"{f['name']} {figures(number(f['p50_ms']) or 0)} + {figures(added)} ms" for f, added in known]
    return f"; estimated by that share: {', '.join(estimates)}" if estimates else ""


def _stopped(scan: Mapping[str, Any], summary: Summary) -> str:
    more = "further " if scan["chosen"] else ""
    samples = (summary.get("words") or {}).get("samples", "samples")
    return {
        "gap": f"No {more}layer is proposed: on these {samples} the {title(summary)} can't be told from the student's.",
        "share": f"No {more}layer is proposed: none alone takes away a tenth of the {distance(summary)}.",
        "most": "More than three layers are not left in floating point.",
        "all": "All layers are in floating point.",
    }.get(scan["stopped"], "")
