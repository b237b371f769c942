"""The operators of a Core ML program; nothing on this machine tells who computes them."""

from pathlib import Path

from edgedistill.backends.coreml import inspect as coreml
from edgedistill.backends.delegation.nodes import unknown
from edgedistill.records import UnknownDelegation

_WHY = "Core ML decides on the device what the Neural Engine, the GPU and the CPU compute; nothing on this machine tells"


def read(path: Path) -> UnknownDelegation:
    """Why the delegation of the package is not known, its operators, and its layers. Raises ValueError for another file."""
    return unknown(coreml.read(path), _WHY)
