"""ONNX: an input of bytes."""

import numpy as np


def take_bytes(model) -> None:  # type: ignore[no-untyped-def]
    """Let `model` take uint8 [1, H, W, C] in place of its float32 image [1, C, H, W], byte / 255.

    A division and no DequantizeLinear, whose product with float32(1 / 255) is another number for 126 of the 256 bytes; it takes as long.
    """
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    (image,) = graph.input
    _, channels, height, width = (dimension.dim_value for dimension in image.type.tensor_type.shape.dim)
    for node in graph.node:
        for position, name in enumerate(node.input):
            if name == image.name:
                node.input[position] = "unit"
    first = [
        helper.make_node("Cast", [image.name], ["whole"], name="whole", to=TensorProto.FLOAT),
        helper.make_node("Div", ["whole", "full"], ["shares"], name="shares"),
        helper.make_node("Transpose", ["shares"], ["unit"], name="unit", perm=[0, 3, 1, 2]),
    ]
    graph.initializer.append(numpy_helper.from_array(np.array(255, np.float32), "full"))
    rest = [type(node).FromString(node.SerializeToString()) for node in graph.node]
    del graph.node[:]
    graph.node.extend(first + rest)
    image.CopyFrom(helper.make_tensor_value_info(image.name, TensorProto.UINT8, [1, height, width, channels]))
