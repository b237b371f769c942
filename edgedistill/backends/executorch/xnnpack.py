"""Reads what a .pte gives to XNNPACK."""

import re

from pydantic import BaseModel, JsonValue

from edgedistill.backends.executorch.flatc import body, decompile
from edgedistill.backends.inspect.graph import Graph, Node, Tensor, Unknown
from edgedistill.records.inspection import Dimension

_NONE = 0xFFFFFFFF
_NO_FIELD = {"debug_handle", "flags"}
_TYPES = {
    "fp32": "float32", "fp16": "float16", "bf16": "bfloat16", "pfp32": "float32", "qint8": "int8", "quint8": "uint8", "qint32": "int32",
    "qcint8": "int8", "qcint32": "int32", "qcint4": "int4", "qdint8": "int8", "qbint4": "int4", "qpint8": "int8", "int32": "int32",
}  # fmt: skip


class _Tensor(BaseModel):
    datatype: str
    id_out: int
    dims: list[int] = []
    constant_buffer_idx: int


class _Steps(BaseModel):
    """How a tensor is quantized; scales are stored where there are several."""

    scale_buffer_idx: int = 0
    num_scales: int = 0


class _Quantized(BaseModel):
    tensor_value: _Tensor
    quant_params: _Steps = _Steps()


class _Value(BaseModel):
    xvalue_union: _Quantized | _Tensor


class _Operator(BaseModel):
    xnode_union_type: str
    xnode_union: dict[str, JsonValue]


class _Constant(BaseModel):
    size: int
    named_key: str | None = None


class _Document(BaseModel):
    """What of the schema is read; see backends/xnnpack/serialization/schema.fbs of executorch."""

    xvalues: list[_Value]
    xnodes: list[_Operator]
    constant_data: list[_Constant] = []


def is_payload(data: bytes) -> bool:
    """Whether a delegate's bytes are XNNPACK's, with or without a header before them."""
    return data[4:8] in (b"XH00", b"XN00", b"XN01")


def add(payload: bytes, partition: str, graph: Graph) -> None:
    """Add the tensors and operators of a payload, with the name of its partition before theirs."""
    document = decompile(body(payload), "xnnpack", _Document)
    stored = document.constant_data
    names = {}
    for value in document.xvalues:
        union = value.xvalue_union
        tensor, steps = (union.tensor_value, union.quant_params) if isinstance(union, _Quantized) else (union, _Steps())
        name = names[tensor.id_out] = f"{partition}/{tensor.id_out}"
        dtype = tensor.datatype.removeprefix("xnn_datatype_")
        graph.tensors[name] = _tensor(_TYPES.get(dtype, dtype), [*tensor.dims], stored, tensor.constant_buffer_idx, partition)
        if steps.scale_buffer_idx:
            kind = "bfloat16" if dtype == "qbint4" else "float32"
            graph.tensors[f"{name}/scale"] = _tensor(kind, [steps.num_scales], stored, steps.scale_buffer_idx, partition)
    for index, node in enumerate(document.xnodes):
        numbers = {key: value for key, value in node.xnode_union.items() if isinstance(value, int)}
        inputs, outputs = _ports(node.xnode_union_type, numbers)
        # XNNPACK knows no names.
        used = [names[i] for i in inputs]
        used += [f"{name}/scale" for name in used if f"{name}/scale" in graph.tensors]
        graph.nodes.append(Node(node.xnode_union_type, f"{partition}/{index}", used, [names[i] for i in outputs], numbers))


def macs(node: Node, graph: Graph) -> int:
    """Multiply-accumulates of one operator; the fields of a convolution count channels by group."""
    fields = node.attributes
    match node.operator:
        case "XNNConv2d" | "XNNDepthwiseConv2d":
            kernel = fields["kernel_height"] * fields["kernel_width"] * fields["group_input_channels"]
            return graph.elements(node.outputs[0]) * kernel
        case "XNNConvTranspose2d":
            kernel = fields["kernel_height"] * fields["kernel_width"] * fields["group_output_channels"]
            return graph.elements(node.inputs[0]) * kernel
        case "XNNFullyConnected" | "XNNBatchMatrixMultiply":
            return graph.elements(node.outputs[0]) * graph.shape(node.inputs[0])[-1]
        case "XNNScaledDotProductAttention":
            raise Unknown(f"there is no formula for {node.operator}")
    return 0


def _tensor(dtype: str, shape: list[Dimension], stored: list[_Constant], index: int, partition: str) -> Tensor:
    if index == 0:
        return Tensor(dtype, shape)
    constant = stored[index]
    # A named constant is in the file once, whichever partitions use it.
    return Tensor(dtype, shape, constant.size, constant.named_key or (partition, index))


def _ports(kind: str, fields: dict[str, int]) -> tuple[list[int], list[int]]:
    """Ids of the inputs and outputs of an operator."""
    concatenated = re.fullmatch(r"XNNConcatenate(\d)", kind)
    inputs, outputs = [], []
    for key, value in fields.items():
        if not key.endswith("_id") or key in _NO_FIELD or value == _NONE:
            continue
        number = re.fullmatch(r"input(\d)_id", key)
        if key.startswith("output"):
            outputs.append(value)
        elif not (concatenated and number and int(number[1]) > int(concatenated[1])):
            inputs.append(value)
    return inputs, outputs
