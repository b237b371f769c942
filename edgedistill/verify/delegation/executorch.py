"""Which operators of a .pte are inside XNNPACK, as the file says it."""

from pathlib import Path

from edgedistill.export.inspect import executorch
from edgedistill.export.inspect.graph import layers_of
from edgedistill.verify.delegation.nodes import Node, Reading, costs


def read(path: Path) -> Reading:
    """Read the file without loading the runtime. Raises ValueError, or what flatbuffers raises, for a file that is not whole."""
    _, graph, delegates = executorch.load(path)
    nodes = []
    for node, layer in layers_of(graph, executorch.macs):
        # Another delegate than XNNPACK keeps its operators in a form of its own, and is one node.
        opaque, inside = node.attributes.get("delegate"), node.operator.startswith("XNN")
        by = "XnnpackBackend" if inside else node.operator if opaque else "portable"
        operator = "not readable" if opaque else node.operator.removeprefix("XNN").rpartition("::")[2]
        nodes.append(Node(operator, by, layer["name"], by == "portable", costs(layer)))
    return Reading(len(delegates), nodes)
