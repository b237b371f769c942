"""Reads what a .pte gives to Vulkan; see backends/vulkan/serialization/schema.fbs of executorch."""

from pydantic import BaseModel

from edgedistill.backends.executorch.flatc import body, decompile
from edgedistill.backends.inspect.graph import Graph, Node, Tensor, Unknown

_CONVOLUTIONS = {"aten.convolution.default", "et_vk.conv_with_clamp.default"}
_TRANSPOSED = 6
"""Which argument of a convolution in floating point says whether it is transposed."""
_KERNEL, _GROUPS = 9, 13
"""Which arguments of an int8 convolution are the size of its kernel and its groups; its weights are packed."""
_INT8_CONVOLUTIONS = {f"et_vk.q8ta_conv2d{kind}.default" for kind in ("", "_pw", "_dw")}
_PRODUCTS = {
    "aten.linear.default": 0, "aten.mm.default": 0, "aten.bmm.default": 0, "aten.addmm.default": 1, "et_vk.q8ta_linear.default": 0,
    "et_vk.q8ta_linear_gemv.default": 0,
}  # fmt: skip
"""Matrix products, and which of their arguments has the inner dimension last."""
_UNKNOWN = ("conv", "linear", "mm", "sdpa", "attention")


class _Tensor(BaseModel):
    datatype: str
    dims: list[int] = []
    constant_id: int


class _Bool(BaseModel):
    bool_val: bool


class _Int(BaseModel):
    int_val: int


class _List(BaseModel):
    items: list[int]


class _Other(BaseModel):
    """What is not read."""


_Argument = _Tensor | _Bool | _Int | _List | _Other


class _Value(BaseModel):
    value_type: str
    value: _Argument


class _Call(BaseModel):
    name: str
    args: list[int]


class _Constant(BaseModel):
    length: int
    named_key: str | None = None


class _Document(BaseModel):
    """What of the schema is read."""

    values: list[_Value]
    constants: list[_Constant]
    chain: list[_Call]


def is_payload(data: bytes) -> bool:
    """Whether a delegate's bytes are Vulkan's."""
    return data[4:8] in (b"VH00", b"VK00")


def add(payload: bytes, partition: str, graph: Graph) -> None:
    """Add the tensors and operators of a payload, with the name of its partition before theirs."""
    document = decompile(body(payload), "vulkan", _Document)
    for index, value in enumerate(document.values):
        if isinstance(value.value, _Tensor):
            graph.tensors[f"{partition}/{index}"] = _tensor(value.value, document.constants, partition)
    for index, call in enumerate(document.chain):
        *before, outputs = ([f"{partition}/{i}" for i in _tensors(document.values, argument)] for argument in call.args)
        inputs = [name for names in before for name in names]
        arguments = {"factor": before[_PRODUCTS[call.name]][0]} if call.name in _PRODUCTS else {}
        attributes = _attributes(call.name, [document.values[argument].value for argument in call.args])
        graph.nodes.append(Node(call.name, f"{partition}/{call.name}:{index}", inputs, outputs, attributes, arguments))


def macs(node: Node, graph: Graph) -> int:
    """Multiply-accumulates of one operator; weights of convolutions in floating point are [out, in / groups, ...]."""
    numbers = node.attributes
    if node.operator in _CONVOLUTIONS and not numbers["transposed"]:
        height, width = graph.shape(node.inputs[1])[2:]
        return graph.elements(node.outputs[0]) * graph.shape(node.inputs[1])[1] * height * width
    if node.operator in _INT8_CONVOLUTIONS:
        channels = graph.shape(node.inputs[0])[1] // numbers["groups"]
        return graph.elements(node.outputs[0]) * channels * numbers["kernel_height"] * numbers["kernel_width"]
    if node.operator in _PRODUCTS:
        return graph.elements(node.outputs[0]) * graph.shape(node.arguments["factor"])[-1]
    if any(part in node.operator for part in _UNKNOWN):
        raise Unknown(f"there is no formula for {node.operator}")
    return 0


def _attributes(operator: str, arguments: list[_Argument]) -> dict[str, int]:
    """What the multiply-accumulates of a convolution depend on. Raises ValueError where an argument is another than usual."""
    if operator in _CONVOLUTIONS and isinstance(transposed := arguments[_TRANSPOSED], _Bool):
        return {"transposed": transposed.bool_val}
    if operator in _INT8_CONVOLUTIONS:
        kernel, groups = arguments[_KERNEL], arguments[_GROUPS]
        if isinstance(kernel, _List) and isinstance(groups, _Int):
            height, width = kernel.items
            return {"kernel_height": height, "kernel_width": width, "groups": groups.int_val}
    if operator in _CONVOLUTIONS | _INT8_CONVOLUTIONS:
        raise ValueError(f"{operator} has other arguments than expected")
    return {}


def _tensor(tensor: _Tensor, stored: list[_Constant], partition: str) -> Tensor:
    dtype, index = tensor.datatype.lower(), tensor.constant_id
    if index < 0:
        return Tensor(dtype, [*tensor.dims])
    # A named constant is in the file once, whichever partitions use it.
    return Tensor(dtype, [*tensor.dims], stored[index].length, stored[index].named_key or (partition, index))


def _tensors(values: list[_Value], index: int) -> list[int]:
    """The tensors of an argument: itself, or those of its list."""
    value = values[index].value
    if values[index].value_type == "ValueList" and isinstance(value, _List):
        return [item for inner in value.items for item in _tensors(values, inner)]
    return [index] if isinstance(value, _Tensor) else []
