"""Which nodes ONNX Runtime computes in integers and which in floating point, read from the graph that it optimised for this machine."""

import tempfile
from pathlib import Path

from edgedistill.export.inspect import ort
from edgedistill.export.inspect.graph import layers_of
from edgedistill.verify.delegation.nodes import Node, Reading, costs

# These only move numbers, whatever their type is.
_MOVES = {"Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Concat", "Slice", "Gather", "Pad", "ReorderInput", "ReorderOutput"}
_CONVERTS = {"QuantizeLinear", "DequantizeLinear"}
_FLOATS = {"float16", "bfloat16", "float32", "float64"}


def read(path: Path) -> Reading:
    """Open the file with ONNX Runtime. Raises what the runtime raises."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # An .onnx would have no types and shapes of the runtime's own operators.
    options.add_session_config_entry("session.save_model_format", "ORT")
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder, "optimized.ort"))
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        _, graph = ort.load(Path(options.optimized_model_filepath))
    nodes = []
    for node, layer in layers_of(graph, ort.macs):
        operator = node.operator.rpartition(".")[2]
        # Constants tell nothing: an integer kernel has float scales, and a float one may have a constant on either side.
        computed = [graph.tensors[name] for name in node.inputs if name and graph.tensors[name].bytes is None]
        takes_floats = any(tensor.type in _FLOATS for tensor in computed)
        kind = "moves" if operator in _MOVES | _CONVERTS else "float" if takes_floats else "integer"
        nodes.append(Node(operator, kind, layer["name"], kind == "float", costs(layer)))
    return Reading(1, nodes, quantized=any(node.operator in _CONVERTS for node in nodes))
