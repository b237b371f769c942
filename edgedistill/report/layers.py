"""The layers of each int8 artifact that cost most, as the report's tables."""

from collections.abc import Mapping
from typing import Any

from edgedistill.report.tables import Summary, Table, by_format
from edgedistill.report.values import Cell, integer, number, percent, show

_MAX_ROWS = 20


def tables(summary: Summary) -> list[Table]:
    """For each int8 artifact the 20 layers with the most multiply-accumulates: who computes them, MACs, bytes of weights and result."""
    return [_table(a, layers) for a in by_format(summary) if a.get("precision") == "int8" and (layers := _layers(a))]


def _layers(artifact: Summary) -> list[Summary]:
    delegation = artifact.get("delegation")
    return list(delegation.get("layers") or []) if isinstance(delegation, Mapping) else []


def _macs(layer: Summary) -> float:
    return number(layer.get("macs")) or 0


def _table(artifact: Summary, layers: list[Summary]) -> Table:
    largest = [layer for layer in sorted(layers, key=_macs, reverse=True)[:_MAX_ROWS] if layer.get("macs") != 0]
    total = sum(map(_macs, layers)) or 1
    caption = f"{artifact.get('name')}: the {len(largest)} of {len(layers)} layers with the most multiply-accumulates"
    headers = ("layer", "operator", "computed by", "MACs", "share", "bytes of weights", "bytes of the result")
    return Table(caption, headers, [_row(layer, total) for layer in largest])


def _row(layer: Summary, total: float) -> list[Cell]:
    macs: Any = layer.get("macs")
    return [
        Cell(str(layer.get("name")), "code"),
        Cell(str(layer.get("operator")), "code"),
        Cell(str(layer.get("delegate") or "–")),
        show(macs, integer),
        show(macs, lambda value: percent(value / total)),
        *(show(layer.get(key), integer) for key in ("bytes", "activation_bytes")),
    ]
