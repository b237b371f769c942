"""Folds a temperature into the last layer, which divides the output by it without a change of the program's structure."""

import torch
from torch.fx import GraphModule, Node

from edgedistill.quantize.graph import float32, last_layers, tensor_of


def divide_output(graph: GraphModule, temperature: float) -> bool:
    """Divide the only output of a converted graph with float weights, in place. Returns False, without a change, if it cannot be folded.

    It divides the scales of the last weights and of the output, and the float weights and bias. All integers and all multipliers between
    scales stay the same. So the int8 program does not change, only the size of a step of its output.
    """
    ops = torch.ops.quantized_decomposed
    (node, steps), *others = last_layers(graph)
    dequantize = node.args[1] if node is not None and steps else None
    if others or node is None or not isinstance(dequantize, Node) or dequantize.target != ops.dequantize_per_channel.default:
        return False
    quantize = dequantize.args[0]
    assert isinstance(quantize, Node)
    for step in steps:
        step.args = (step.args[0], float32(step.args[1] / temperature), *step.args[2:])  # type: ignore[operator]
    # By name, since quantize and dequantize may read the same scale through two nodes.
    constants = {str(c.target): c for c in (dequantize.args[1], *quantize.args[:2], *node.args[2:3]) if isinstance(c, Node)}
    for constant in constants.values():
        tensor_of(graph, constant).div_(temperature)
    graph.recompile()
    return True
