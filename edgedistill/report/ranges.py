"""The ranges of activations on val: the record in the summary, the report's tables, and lines for people."""

from collections.abc import Iterable, Mapping
from typing import Any

from edgedistill.backends import backend
from edgedistill.records import ArtifactSpec, Unavailable
from edgedistill.records.summary import Float16Ranges, Ranges
from edgedistill.report.tables import Summary, Table
from edgedistill.report.values import Cell, figures, integer, number, percent, show, unavailable
from edgedistill.run import Run

_NOT_SCANNED = "not scanned; run `edgedistill verify`"


def recorded(run: Run, artifacts: Iterable[ArtifactSpec]) -> Ranges:
    """What the scans of a run found: of the quantized state, and of each package that computes in float16."""
    packages = [a.name for a in artifacts if a.precision == "fp16" and not a.delegate and backend(a.format).ranges]
    return Ranges.model_validate({"int8": _record(run, "int8"), "float16": {name: _record(run, name) for name in packages}})


def _record(run: Run, name: str) -> object:
    record = run.result(f"ranges-{name}")
    if record is None or "error" in record:
        return {"unavailable": _NOT_SCANNED if record is None else record["error"]}
    return record


def lines(ranges: Ranges) -> list[str]:
    """A line on int8, and one on each float16 package."""
    texts = []
    int8_ = ranges.int8
    if isinstance(int8_, Unavailable):
        texts.append(f"int8 ranges: unavailable: {int8_.unavailable}")
    else:
        names = [f"{layer.name} ({layer.problem})" for layer in int8_.layers]
        count = f"{len(names)} of {int8_.activations} activations waste levels or clip" + (f": {', '.join(names)}" if names else "")
        texts.append(f"int8 ranges: {count}; on {int8_.samples} samples")
    for name, scanned in ranges.float16.items():
        line = f"ranges unavailable: {scanned.unavailable}" if isinstance(scanned, Unavailable) else _float16_line(scanned)
        texts.append(f"{name}: {line}")
    return texts


def _float16_line(ranges: Float16Ranges) -> str:
    layers, largest = [str(layer.name) for layer in ranges.layers], ranges.largest
    danger = f"{len(layers)} layer{'s' * (len(layers) != 1)} past a quarter of float16's range: {', '.join(layers)}; " if layers else ""
    value, share = show(largest.largest, figures).text, show(largest.share, percent).text
    return f"{danger}the largest value, {value} in {largest.name}, is at {share} of float16's range; on {ranges.samples} samples"


def float16(summary: Summary) -> Table:
    """The layers of each float16 package that go past a quarter of the range, or the one that goes farthest where none does."""
    rows = []
    packages = (summary.get("ranges") or {}).get("float16") or {}
    counts = {scan["samples"] for scan in packages.values() if "samples" in scan}
    for package, scan in packages.items():
        name = Cell(str(package), "code")
        if "layers" not in scan:
            rows.append([name, *[unavailable(scan)] * 6])
            continue
        layers = scan["layers"] or [scan["largest"]]
        rows += [[name, *_float16_row(layer, endangered=bool(scan["layers"]))] for layer in layers]
    headers = ("package", "layer", "operator", "largest value", "share of 65504", "val sample", "result")
    return Table(f"What could leave float16's range{_on(counts)}", headers, rows)


def _float16_row(layer: Mapping[str, Any], *, endangered: bool) -> list[Cell]:
    if endangered:
        result = Cell("✗ overflows", "failed") if layer.get("overflows") else Cell("past a quarter")
    else:
        result = Cell("✓ the farthest; none past a quarter", "ok")
    return [
        Cell(str(layer.get("name")), "code"),
        Cell(str(layer.get("operator")), "code"),
        show(layer.get("largest"), figures),
        show(layer.get("share"), percent),
        show(layer.get("sample"), integer),
        result,
    ]


def int8(summary: Summary) -> Table:
    """The activations that waste levels or clip, or where there is none that of the fewest levels and that which clips most."""
    scan = (summary.get("ranges") or {}).get("int8") or {}
    headers = ("activation", "operator", "range of int8", "levels in use", "clipped", "largest value", "val sample", "result")
    if "layers" not in scan:
        return Table("Levels of int8 in use", headers, [])
    caption = f"Levels of int8 in use{_on({scan['samples']})}"
    layers = scan["layers"] or list({layer["name"]: layer for layer in (scan["least_used"], scan["most_clipped"])}.values())
    return Table(caption, headers, [_int8_row(layer) for layer in layers])


def _on(counts: set[int]) -> str:
    return f", on {', '.join(map(str, counts))} samples of val" if counts else ""


def _int8_row(layer: Mapping[str, Any]) -> list[Cell]:
    low, high = (figures(number(layer.get(end)) or 0) for end in ("low", "high"))
    problem = layer.get("problem")
    return [
        Cell(str(layer.get("name")), "code"),
        Cell(str(layer.get("operator")), "code"),
        Cell(f"{low} to {high}", "number"),
        show(layer.get("used"), percent),
        show(layer.get("clipped"), percent),
        show(layer.get("largest"), figures),
        Cell("–") if layer.get("sample") is None else show(layer.get("sample"), integer),
        # Verification does not fail because of it.
        Cell(str(problem)) if problem else Cell("✓ ok", "ok"),
    ]
