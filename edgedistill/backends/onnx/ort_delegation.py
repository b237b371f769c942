"""Which nodes of an .ort are computed in integers and which in floating point: the file is the graph that runs."""

from pathlib import Path

from edgedistill.backends.delegation.nodes import Node, Reading, layer_of
from edgedistill.backends.inspect.graph import layers_of
from edgedistill.backends.onnx import ort_inspect as ort

# These only move numbers, whatever their type is.
_MOVES = {"Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Concat", "Slice", "Gather", "Pad", "ReorderInput", "ReorderOutput"}
_CONVERTS = {"QuantizeLinear", "DequantizeLinear"}
INT16 = "ONNX Runtime has no kernels with 16-bit activations, and computes in float between a dequantize and a quantize"
_FLOATS = {"float16", "bfloat16", "float32", "float64"}


def read(path: Path) -> Reading:
    """Read the file without the runtime. Raises ValueError, or what flatbuffers raises, for a file that is not whole."""
    _, graph = ort.load(path)
    nodes = []
    for node, layer in layers_of(graph, ort.macs):
        operator = node.operator.rpartition(".")[2]
        # Constants tell nothing: an integer kernel has float scales, and a float one may have a constant on either side.
        computed = [graph.tensors[name] for name in node.inputs if name and graph.tensors[name].bytes is None]
        takes_floats = any(tensor.type in _FLOATS for tensor in computed)
        kind = "moves" if operator in _MOVES | _CONVERTS else "float" if takes_floats else "integer"
        nodes.append(Node(kind, layer_of(layer, None if kind == "float" else kind, operator=operator)))
    int16 = any(tensor.type == "int16" for tensor in graph.tensors.values())
    return Reading(1, nodes, quantized=any(node.layer.operator in _CONVERTS for node in nodes), why=INT16 if int16 else None)
