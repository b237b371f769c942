"""The operators of a Core AI program; nothing on this machine tells who computes them."""

from pathlib import Path

from edgedistill.backends.coreai import inspect as coreai
from edgedistill.backends.delegation.nodes import unknown
from edgedistill.records import UnknownDelegation

_WHY = "Core AI decides on the device what the Neural Engine, the GPU and the CPU compute; nothing on this machine tells"


def read(path: Path) -> UnknownDelegation:
    """Why the delegation of the asset is not known, its operators, and its layers. Raises ValueError for another file."""
    return unknown(coreai.read(path), _WHY)
