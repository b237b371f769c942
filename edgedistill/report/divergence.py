"""Lists artifacts that failed verification, and the layer at which they leave their reference."""

from collections.abc import Iterable, Mapping
from typing import Any


def failed(artifacts: Iterable[Mapping[str, Any]]) -> list[str]:
    """Each artifact that failed verification in one line, with the first diverging layer where one was looked for."""
    return [_line(artifact) for artifact in artifacts if artifact.get("ok") is False]


def _line(artifact: Mapping[str, Any]) -> str:
    name, found = str(artifact.get("name")), artifact.get("divergence")
    if not found:
        return name
    if found["layer"] is None:
        return f"{name}: no diverging layer found, {found['reason']}"
    parity = found["parity"]
    distance = f"mean {parity['mean_lsb']:.2g} LSB, at most {parity['max_lsb']:.3g}" if "mean_lsb" in parity else "not comparable"
    return f"{name}: the first layer that differs is {found['layer']} ({found['operator']}, {distance}), {found['note']}"
