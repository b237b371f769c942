"""The command inspect."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edgedistill.cli.output import finish
from edgedistill.records import Unavailable
from edgedistill.signature import Signature

if TYPE_CHECKING:
    from pydantic import JsonValue

    from edgedistill.records.inspection import Dimension, InspectedLayer, InspectedPort, Inspection

_MAX_LAYERS = 30
_NAME_WIDTH = 44


def inspect(path: Path, *, as_json: bool) -> None:
    """Show the content of a model file."""

    def work() -> Inspection:
        from edgedistill.backends.inspect import inspect as look

        inspection = look(path)
        for warning in inspection.warnings:
            print(f"warning: {_plain(warning)}", file=sys.stderr)
        return inspection

    finish(as_json, work, _show)


def _show(inspection: Inspection) -> None:
    from rich.table import Table

    from edgedistill.backends import backend
    from edgedistill.cli.tables import console

    screen = console()

    def line(text: str) -> None:
        # Text of the file must not be interpreted as markup.
        screen.print(_plain(text), markup=False, highlight=False, soft_wrap=True)

    line(f"{inspection.path}: {backend(inspection.format).title}, {_size(inspection.bytes)}, SHA-256 {inspection.sha256}")
    line(f"version: {_pairs(inspection.version)}; producer: {_value(inspection.producer)}")
    for kind, ports in (("input", inspection.inputs), ("output", inspection.outputs)):
        for index, port in enumerate(ports):
            line(f"{kind} {index}: {_port(port)}")
    line(f"signature: {_signature(inspection.signature)}")
    line(f"operators: {_pairs(inspection.operators)}")
    weights = [f"{name} {_size(stored.bytes)} in {stored.count}" for name, stored in inspection.weights.items()]
    line(f"weights: {', '.join(weights) or 'none'}")
    line(f"activations: {_pairs(inspection.activations) or 'none'}")
    line(f"MACs: {_value(inspection.macs)}")
    for name, value in inspection.metadata.items():
        texts = [_pairs(item) if isinstance(item, dict) else str(item) for item in (value if isinstance(value, list) else [value])]
        line(f"{name}: {'; '.join(texts)}")
    shown = _largest(inspection.layers)
    table = Table(title=f"The {len(shown)} largest of {len(inspection.layers)} layers, by weights and MACs (--json has all)")
    for name in ("layer", "operator", "type"):
        table.add_column(name, no_wrap=True)
    table.add_column("output shape")
    for name in ("weights", "MACs"):
        table.add_column(name, justify="right", no_wrap=True)
    for layer in shown:
        name = _plain(layer.name)
        name = name if len(name) <= _NAME_WIDTH else f"…{name[1 - _NAME_WIDTH :]}"
        costs = [f"{layer.weight_bytes:,}", _cell(layer.macs)]
        cells = [name, _plain(layer.operator), _cell(layer.type), _shape(layer.output_shape), *costs]
        table.add_row(*(_escaped(cell) for cell in cells))
    screen.print(table)


def _largest(layers: list[InspectedLayer]) -> list[InspectedLayer]:
    """The layers with the largest shares of all weights and all MACs, in their own order."""
    macs = [layer.macs if isinstance(layer.macs, int) else 0 for layer in layers]
    weights = [layer.weight_bytes for layer in layers]
    shares = [w / (sum(weights) or 1) + m / (sum(macs) or 1) for w, m in zip(weights, macs, strict=True)]
    largest = sorted(range(len(layers)), key=lambda i: -shares[i])[:_MAX_LAYERS]
    return [layers[i] for i in sorted(largest) if shares[i] > 0]


def _plain(text: str) -> str:
    """The text without control characters, by which a file could change the terminal."""
    return "".join(c if c.isprintable() else "�" for c in text)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _size(count: int) -> str:
    return f"{count} bytes" if count < 1024 else f"{count / 1024:.1f} KiB" if count < 1 << 20 else f"{count / (1 << 20):.1f} MiB"


def _value(value: JsonValue | Unavailable) -> str:
    if isinstance(value, Unavailable):
        return f"unavailable ({value.unavailable})"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _cell(value: int | float | str | Unavailable) -> str:
    return "-" if isinstance(value, Unavailable) else _value(value)


def _shape(shape: list[Dimension] | Unavailable) -> str:
    return "-" if isinstance(shape, Unavailable) else "×".join("?" if size is None else str(size) for size in shape) or "scalar"


def _pairs(values: Mapping[str, JsonValue | Mapping[str, int] | Unavailable]) -> str:
    return ", ".join(f"{name} {f'({_pairs(value)})' if isinstance(value, Mapping) else _value(value)}" for name, value in values.items())


def _signature(signature: Signature | Unavailable) -> str:
    """Inputs and outputs by the names by which commands take them; a name in a shape is a size that varies."""
    if isinstance(signature, Unavailable):
        return _value(signature)
    method = signature.forward
    return f"{', '.join(map(str, method.inputs))} -> {', '.join(map(str, method.outputs))}"


def _port(port: InspectedPort) -> str:
    name = "" if isinstance(port.name, Unavailable) else f"{port.name} "
    quantization = ""
    if port.scale is not None:
        quantization = f", scale {_value(port.scale)}, zero point {_value(port.zero_point)}"
    return f"{name}{_cell(port.type)} [{_shape(port.shape)}]{quantization}"
