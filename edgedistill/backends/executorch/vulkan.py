"""Reads what a .pte gives to Vulkan; see backends/vulkan/serialization/schema.fbs of executorch."""

from typing import Any

from edgedistill.backends.executorch.flatc import body, decompile
from edgedistill.backends.inspect.graph import Graph, Node, Tensor, Unknown

_CONVOLUTIONS = {"aten.convolution.default", "et_vk.conv_with_clamp.default"}
_KERNEL, _GROUPS = 9, 13
"""Where an int8 convolution has the size of its kernel and its groups; its weights are packed."""
_INT8_CONVOLUTIONS = {f"et_vk.q8ta_conv2d{kind}.default" for kind in ("", "_pw", "_dw")}
_PRODUCTS = {
    "aten.linear.default": 0, "aten.mm.default": 0, "aten.bmm.default": 0, "aten.addmm.default": 1, "et_vk.q8ta_linear.default": 0,
    "et_vk.q8ta_linear_gemv.default": 0,
}  # fmt: skip
"""Matrix products, and which of their arguments has the inner dimension last."""
_UNKNOWN = ("conv", "linear", "mm", "sdpa", "attention")


def is_payload(data: bytes) -> bool:
    """Whether a delegate's bytes are Vulkan's."""
    return data[4:8] in (b"VH00", b"VK00")


def add(payload: bytes, partition: str, graph: Graph) -> None:
    """Add the tensors and operators of a payload, with the name of its partition before theirs."""
    document = decompile(body(payload), "vulkan")
    stored, values = document["constants"], document["values"]
    for index, value in enumerate(values):
        if value["value_type"] == "VkTensor":
            graph.tensors[f"{partition}/{index}"] = _tensor(value["value"], stored, partition)
    for index, call in enumerate(document["chain"]):
        *before, last = ([f"{partition}/{i}" for i in _tensors(values, argument)] for argument in call["args"])
        inputs = [name for names in before for name in names]
        attributes = {"arguments": [values[argument]["value"] for argument in call["args"]], "firsts": [names[:1] for names in before]}
        graph.nodes.append(Node(call["name"], f"{partition}/{call['name']}:{index}", inputs, last, attributes))


def macs(node: Node, graph: Graph) -> int:
    """Multiply-accumulates of one operator; weights of convolutions in floating point are [out, in / groups, ...]."""
    arguments = node.attributes["arguments"]
    if node.operator in _CONVOLUTIONS and not arguments[6]["bool_val"]:
        height, width = graph.shape(node.inputs[1])[2:]
        return graph.elements(node.outputs[0]) * graph.shape(node.inputs[1])[1] * height * width
    if node.operator in _INT8_CONVOLUTIONS:
        height, width = arguments[_KERNEL]["items"]
        channels = graph.shape(node.inputs[0])[1] // arguments[_GROUPS]["int_val"]
        return graph.elements(node.outputs[0]) * channels * height * width
    if node.operator in _PRODUCTS:
        return graph.elements(node.outputs[0]) * graph.shape(node.attributes["firsts"][_PRODUCTS[node.operator]][0])[-1]
    if any(part in node.operator for part in _UNKNOWN):
        raise Unknown(f"there is no formula for {node.operator}")
    return 0


def _tensor(value: dict[str, Any], stored: list[dict[str, Any]], partition: str) -> Tensor:
    dtype, shape, index = value["datatype"].lower(), [*value["dims"]], value["constant_id"]
    if index < 0:
        return Tensor(dtype, shape)
    # A named constant is in the file once, whichever partitions use it.
    return Tensor(dtype, shape, int(stored[index]["length"]), stored[index].get("named_key") or (partition, index))


def _tensors(values: list[dict[str, Any]], index: int) -> list[int]:
    """The tensors of an argument: itself, or those of its list."""
    kind, value = values[index]["value_type"], values[index]["value"]
    if kind == "ValueList":
        return [item for inner in value["items"] for item in _tensors(values, inner)]
    return [index] if kind == "VkTensor" else []
