"""ONNX: weights as integers behind a DequantizeLinear, or in an integer product whose other side is quantized as it comes."""

from typing import Any

import numpy as np
import torch

from edgedistill.backends.onnx.lower import replace_nodes
from edgedistill.quantize.grid import Steps, int4_blocks, int8_channels, scheme_of

_LINEAR = ("Gemm", "MatMul")


def pack(model: Any, precision: str) -> int:
    """Store the weights of `model`, which lie on the grid of `precision`, as its integers, in place; returns how many."""
    dynamic = precision.endswith("-dynamic")
    constants = {i.name: i for i in model.graph.initializer}
    nodes: list[Any] = []
    count = 0
    for node in model.graph.node:
        if node.op_type in (*_LINEAR, "Conv")[: 2 if dynamic else 3] and node.input[1] in constants:
            weight, columns = _weight(node, constants[node.input[1]])
            steps = (int4_blocks if scheme_of(precision, weight.shape) == "int4" else int8_channels)(torch.from_numpy(weight))
            nodes += _integer_product(model.graph, node, steps) if dynamic else _dequantized(model.graph, node, steps, columns)
            count += 1
        else:
            nodes.append(node)
    replace_nodes(model.graph, nodes)
    return count


def _weight(node: Any, constant: Any) -> tuple[np.ndarray, bool]:
    """The weight of `node` as [out, in, ...], and whether the file has the outputs in columns."""
    from onnx import helper, numpy_helper

    array = np.array(numpy_helper.to_array(constant))
    columns = node.op_type == "MatMul" or (
        node.op_type == "Gemm" and not any(a.name == "transB" and helper.get_attribute_value(a) for a in node.attribute)
    )
    return np.ascontiguousarray(array.T) if columns else array, columns


def _dequantized(graph: Any, node: Any, quantized: Steps, columns: bool) -> list[Any]:
    """`node` with a DequantizeLinear for its weight; scales by output channel, or of blocks along the input channels."""
    import ml_dtypes
    from onnx import helper, numpy_helper

    name = node.input[1]
    steps = quantized.steps.numpy()
    axis = int(columns)
    if quantized.block is None:
        scale = quantized.scale.reshape(-1).numpy()
    else:
        # [out, blocks, 1, ...] to [out, blocks, ...]: a position of the kernel has a scale of its own in this format.
        scale = quantized.scale.squeeze(2).expand(-1, -1, *steps.shape[2:]).contiguous().numpy()
        axis = int(not columns)
    if columns:
        steps, scale = steps.T, scale.T if quantized.block else scale
    # Of a list of numbers onnx would make up to ten bytes each.
    stored_steps = np.ascontiguousarray(steps if quantized.block is None else steps.astype(ml_dtypes.int4))
    graph.initializer.append(numpy_helper.from_array(stored_steps, f"{name}_steps"))
    graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(scale), f"{name}_scale"))
    inputs = [f"{name}_steps", f"{name}_scale"]
    if quantized.block is None:
        # On x86 ONNX Runtime turns int8 weights into uint8, and without a zero point of their own they get one that does not fit.
        inputs.append(f"{name}_zero_point")
        graph.initializer.append(numpy_helper.from_array(np.zeros(scale.shape, np.int8), inputs[2]))
    output = f"{name}_dequantized"
    dequantize = helper.make_node("DequantizeLinear", inputs, [output], name=output, axis=axis)
    if quantized.block is not None:
        dequantize.attribute.append(helper.make_attribute("block_size", quantized.block))
    node.input[1] = output
    return [dequantize, node]


def _integer_product(graph: Any, node: Any, quantized: Steps) -> list[Any]:
    """A linear layer whose input is quantized by its own range: DynamicQuantizeLinear, MatMulInteger, scales and bias."""
    from onnx import TensorProto, helper, numpy_helper

    source, weight, output = node.input[0], node.input[1], node.output[0]
    names = {part: f"{output}_{part}" for part in ("u8", "u8_scale", "u8_zero_point", "sums", "floats", "scales", "product")}
    graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(quantized.steps.numpy().T), f"{weight}_steps"))
    graph.initializer.append(numpy_helper.from_array(quantized.scale.reshape(-1).numpy(), f"{weight}_scale"))
    bias = node.input[2] if len(node.input) > 2 else None
    last = names["product"] if bias else output
    made = [
        helper.make_node("DynamicQuantizeLinear", [source], [names["u8"], names["u8_scale"], names["u8_zero_point"]]),
        helper.make_node("MatMulInteger", [names["u8"], f"{weight}_steps", names["u8_zero_point"]], [names["sums"]]),
        helper.make_node("Cast", [names["sums"]], [names["floats"]], to=TensorProto.FLOAT),
        helper.make_node("Mul", [names["u8_scale"], f"{weight}_scale"], [names["scales"]]),
        helper.make_node("Mul", [names["floats"], names["scales"]], [last]),
    ]
    return [*made, helper.make_node("Add", [last, bias], [output])] if bias else made
