"""Which operators of a .pte are inside its delegate, as the file says it."""

from pathlib import Path

from edgedistill.backends.delegation.nodes import Node, Reading, layer_of
from edgedistill.backends.executorch import inspect as executorch
from edgedistill.backends.inspect.graph import layers_of


def read(path: Path) -> Reading:
    """Read the file without loading the runtime. Raises ValueError, or what flatbuffers raises, for a file that is not whole."""
    _, graph, delegates = executorch.load(path)
    nodes = []
    for node, layer in layers_of(graph, executorch.macs):
        # A delegate that has no reader here keeps its operators in a form of its own, and is one node.
        if node.opaque:
            operator = "not readable"
        elif node.delegate == "VulkanBackend":
            operator = node.operator.split(".")[1]
        else:
            operator = node.operator.removeprefix("XNN").rpartition("::")[2]
        nodes.append(Node(node.delegate or "portable", layer_of(layer, node.delegate, operator=operator)))
    others = {delegate.id for delegate in delegates} - {"XnnpackBackend"}
    return Reading(len(delegates), nodes, delegate=", ".join(sorted(others)) or None)
