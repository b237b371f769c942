"""Which operators of a .pte are inside its delegate, as the file says it."""

from pathlib import Path

from edgedistill.backends.delegation.nodes import Node, Reading, costs
from edgedistill.backends.executorch import inspect as executorch
from edgedistill.backends.inspect.graph import layers_of


def read(path: Path) -> Reading:
    """Read the file without loading the runtime. Raises ValueError, or what flatbuffers raises, for a file that is not whole."""
    _, graph, delegates = executorch.load(path)
    nodes = []
    for node, layer in layers_of(graph, executorch.macs):
        # A delegate that has no reader here keeps its operators in a form of its own, and is one node.
        opaque, inside = node.attributes.get("delegate"), node.operator.startswith("XNN")
        by = "XnnpackBackend" if inside else node.operator if opaque else node.attributes.get("by", "portable")
        if by == "VulkanBackend" and not opaque:
            operator = node.operator.split(".")[1]
        else:
            operator = "not readable" if opaque else node.operator.removeprefix("XNN").rpartition("::")[2]
        nodes.append(Node(operator, by, layer["name"], by == "portable", costs(layer)))
    others = {delegate["id"] for delegate in delegates} - {"XnnpackBackend"}
    return Reading(len(delegates), nodes, delegate=", ".join(sorted(others)) or None)
