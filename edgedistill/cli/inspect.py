"""The command inspect."""

import sys
from pathlib import Path
from typing import Any

from edgedistill.cli.output import finish
from edgedistill.signature import Signature

_MAX_LAYERS = 30
_NAME_WIDTH = 44


def inspect(path: Path, *, as_json: bool) -> None:
    """Show the content of a model file."""

    def work() -> dict[str, Any]:
        from edgedistill.backends.inspect import inspect as look

        document = look(path)
        for warning in document["warnings"]:
            print(f"warning: {_plain(warning)}", file=sys.stderr)
        return document

    finish(as_json, work, _show)


def _show(document: dict[str, Any]) -> None:
    from rich.table import Table

    from edgedistill.backends import backend
    from edgedistill.cli.tables import console

    screen = console()

    def line(text: str) -> None:
        # Text of the file must not be interpreted as markup.
        screen.print(_plain(text), markup=False, highlight=False, soft_wrap=True)

    line(f"{document['path']}: {backend(document['format']).title}, {_size(document['bytes'])}, SHA-256 {document['sha256']}")
    line(f"version: {_pairs(document['version'])}; producer: {_value(document['producer'])}")
    for kind in ("inputs", "outputs"):
        for index, port in enumerate(document[kind]):
            line(f"{kind[:-1]} {index}: {_port(port)}")
    line(f"signature: {_signature(document['signature'])}")
    line(f"operators: {_pairs(document['operators'])}")
    weights = [f"{name} {_size(of['bytes'])} in {of['count']}" for name, of in document["weights"].items()]
    line(f"weights: {', '.join(weights) or 'none'}")
    line(f"activations: {_pairs(document['activations']) or 'none'}")
    line(f"MACs: {_value(document['macs'])}")
    for name, value in document["metadata"].items():
        texts = [_pairs(item) if isinstance(item, dict) else str(item) for item in (value if isinstance(value, list) else [value])]
        line(f"{name}: {'; '.join(texts)}")
    shown = _largest(document["layers"])
    table = Table(title=f"The {len(shown)} largest of {len(document['layers'])} layers, by weights and MACs (--json has all)")
    for name in ("layer", "operator", "type"):
        table.add_column(name, no_wrap=True)
    table.add_column("output shape")
    for name in ("weights", "MACs"):
        table.add_column(name, justify="right", no_wrap=True)
    for layer in shown:
        name, operator = _plain(layer["name"]), _plain(layer["operator"])
        name = name if len(name) <= _NAME_WIDTH else f"…{name[1 - _NAME_WIDTH :]}"
        cells = [name, operator, _cell(layer["type"]), _shape(layer["output_shape"]), _bytes(layer["weight_bytes"]), _cell(layer["macs"])]
        table.add_row(*(_escaped(cell) for cell in cells))
    screen.print(table)


def _largest(layers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The layers with the largest shares of all weights and all MACs, in their own order."""
    macs = [layer["macs"] if isinstance(layer["macs"], int) else 0 for layer in layers]
    weights = [layer["weight_bytes"] for layer in layers]
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


def _bytes(count: int) -> str:
    return f"{count:,}"


def _value(value: Any) -> str:
    if isinstance(value, dict) and "unavailable" in value:
        return f"unavailable ({value['unavailable']})"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _cell(value: Any) -> str:
    return "-" if isinstance(value, dict) else _value(value)


def _shape(shape: Any) -> str:
    return "-" if isinstance(shape, dict) else "×".join("?" if size is None else str(size) for size in shape) or "scalar"


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {f'({_pairs(value)})' if _is_group(value) else _value(value)}" for name, value in values.items())


def _is_group(value: Any) -> bool:
    return isinstance(value, dict) and "unavailable" not in value


def _signature(signature: dict[str, Any]) -> str:
    """Inputs and outputs by the names by which commands take them; a name in a shape is a size that varies."""
    if "unavailable" in signature:
        return _value(signature)
    method = Signature.model_validate(signature).forward
    return f"{', '.join(map(str, method.inputs))} -> {', '.join(map(str, method.outputs))}"


def _port(port: dict[str, Any]) -> str:
    name = "" if isinstance(port["name"], dict) else f"{port['name']} "
    quantization = f", scale {_value(port['scale'])}, zero point {_value(port['zero_point'])}" if "scale" in port else ""
    return f"{name}{_cell(port['type'])} [{_shape(port['shape'])}]{quantization}"
