"""Which nodes ONNX Runtime computes in integers and which in floating point, read from the graph that it optimised for this machine."""

import tempfile
from pathlib import Path

from edgedistill.verify.delegation.nodes import Node, Reading

# These only move numbers, whatever their type is.
_MOVES = {"Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Concat", "Slice", "Gather", "Pad", "ReorderInput", "ReorderOutput"}
_CONVERTS = {"QuantizeLinear", "DequantizeLinear"}


def read(path: Path) -> Reading:
    """Open the file with ONNX Runtime. Raises what the runtime raises."""
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder, "optimized.onnx"))
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        graph = onnx.load(options.optimized_model_filepath).graph
    # The runtime's own operators have no type inference: from the inputs on, each gives the type that it was given, but for these.
    # Constants tell nothing: an integer kernel has float scales, and a float one may have a constant on either side.
    floats = {value.name for value in graph.input}
    nodes = []
    for node in graph.node:
        takes_floats = node.op_type != "DequantizeLinear" and any(name in floats for name in node.input)
        if node.op_type == "DequantizeLinear" or (takes_floats and node.op_type != "QuantizeLinear"):
            floats.update(node.output)
        kind = "moves" if node.op_type in _MOVES | _CONVERTS else "float" if takes_floats else "integer"
        nodes.append(Node(node.op_type, kind, node.name or node.output[0], outside=kind == "float"))
    return Reading(1, nodes, quantized=any(node.operator in _CONVERTS for node in nodes))
