"""The operators of a Core ML program; who computes them nothing on this machine tells."""

from pathlib import Path
from typing import Any

from edgedistill.backends.coreml import inspect as coreml
from edgedistill.backends.delegation.nodes import costs, totals

_WHY = "Core ML decides on the device what the Neural Engine, the GPU and the CPU compute; nothing on this machine tells"


def read(path: Path) -> dict[str, Any]:
    """Why the delegation of the package is not known, its operators, and its layers. Raises ValueError for another file."""
    found = coreml.read(path)
    layers = [{"name": layer["name"], "operator": layer["operator"], "delegate": None, **costs(layer)} for layer in found["layers"]]
    return {"value": None, "unavailable": _WHY, "operators": {"program": found["operators"]}, **totals(layers)}
