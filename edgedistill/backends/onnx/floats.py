"""Keeps layers in floating point that ONNX Runtime would quantize by itself."""

import numpy as np


def keep_floats(model) -> int:  # type: ignore[no-untyped-def]
    """Let each layer with float weights read its int8 input by a scale for each channel, all equal; returns how many do.

    ONNX Runtime 1.32 gives int8 weights with a single scale to such a layer behind a DequantizeLinear with one scale (its optimizer
    WeightBiasQuantization, core/optimizer/qdq_transformer), and so undoes what was left in floating point. It leaves one with several
    scales. The values are the same. A layer with one channel has only one scale and is not kept, which verification detects.
    """
    from onnx import helper, numpy_helper

    graph = model.graph
    initializers = {i.name: i for i in graph.initializer}
    producers = {output: node for node in graph.node for output in node.output}
    count = 0
    nodes = []
    for node in graph.node:
        source = producers.get(node.input[0]) if node.op_type in ("Conv", "ConvTranspose", "Gemm") else None
        if source is not None and source.op_type == "DequantizeLinear" and node.input[1] in initializers:
            name = f"{node.output[0]}_input"
            parts = [numpy_helper.to_array(initializers[part]) for part in source.input[1:3]]
            for part, kind in zip(parts, ("scale", "zero_point"), strict=True):
                graph.initializer.append(numpy_helper.from_array(np.full(_channels(node, initializers), part), f"{name}_{kind}"))
            inputs = [source.input[0], f"{name}_scale", f"{name}_zero_point"]
            nodes.append(helper.make_node("DequantizeLinear", inputs, [name], name=name, axis=1))
            node.input[0] = name
            count += 1
        nodes.append(node)
    copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
    return count


def _channels(node, initializers) -> int:  # type: ignore[no-untyped-def]
    shape = initializers[node.input[1]].dims
    attributes = {a.name: a.i for a in node.attribute}
    if node.op_type == "Conv":
        return shape[1] * attributes.get("group", 1)
    return shape[1] if node.op_type == "Gemm" and attributes.get("transB") else shape[0]
