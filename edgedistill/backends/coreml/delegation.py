"""The operators of a Core ML program; nothing on this machine tells who computes them."""

from pathlib import Path

from edgedistill.backends.coreml import inspect as coreml
from edgedistill.backends.delegation.nodes import layer_of
from edgedistill.backends.inspect.graph import total_macs
from edgedistill.records import UnknownDelegation

_WHY = "Core ML decides on the device what the Neural Engine, the GPU and the CPU compute; nothing on this machine tells"


def read(path: Path) -> UnknownDelegation:
    """Why the delegation of the package is not known, its operators, and its layers. Raises ValueError for another file."""
    content = coreml.read(path)
    layers = [layer_of(layer, None) for layer in content.layers]
    return UnknownDelegation(
        unavailable=_WHY,
        operators={"program": content.operators},
        layers=layers,
        macs=total_macs([layer.macs for layer in layers]),
        bytes=sum(layer.bytes for layer in layers),
    )
