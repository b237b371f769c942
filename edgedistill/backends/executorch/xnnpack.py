"""Reads what a .pte gives to XNNPACK."""

import re
from typing import Any

from edgedistill.backends.executorch.flatc import body, decompile
from edgedistill.backends.inspect.graph import Graph, Node, Tensor, Unknown

_NONE = 0xFFFFFFFF
_NO_FIELD = {"debug_handle", "flags"}
_TYPES = {
    "fp32": "float32", "fp16": "float16", "bf16": "bfloat16", "pfp32": "float32", "qint8": "int8", "quint8": "uint8", "qint32": "int32",
    "qcint8": "int8", "qcint32": "int32", "qcint4": "int4", "qdint8": "int8", "qbint4": "int4", "qpint8": "int8", "int32": "int32",
}  # fmt: skip


def is_payload(data: bytes) -> bool:
    """Whether a delegate's bytes are XNNPACK's, with or without a header before them."""
    return data[4:8] in (b"XH00", b"XN00", b"XN01")


def add(payload: bytes, partition: str, graph: Graph) -> None:
    """Add the tensors and operators of a payload, with the name of its partition before theirs."""
    document = decompile(body(payload), "xnnpack")
    stored = document.get("constant_data", [])
    names = {}
    for value in document["xvalues"]:
        quantized = value["xvalue_union_type"] == "XNNQuantizedTensorValue"
        tensor = value["xvalue_union"]["tensor_value"] if quantized else value["xvalue_union"]
        name = names[tensor["id_out"]] = f"{partition}/{tensor['id_out']}"
        dtype = tensor["datatype"].removeprefix("xnn_datatype_")
        shape = list(tensor.get("dims", []))
        graph.tensors[name] = _tensor(_TYPES.get(dtype, dtype), shape, stored, tensor["constant_buffer_idx"], partition)
        scale = value["xvalue_union"].get("quant_params", {}).get("scale_buffer_idx", 0) if quantized else 0
        if scale:
            kind = "bfloat16" if dtype == "qbint4" else "float32"
            graph.tensors[f"{name}/scale"] = _tensor(kind, [value["xvalue_union"]["quant_params"]["num_scales"]], stored, scale, partition)
    for index, node in enumerate(document["xnodes"]):
        kind, fields = node["xnode_union_type"], node["xnode_union"]
        inputs, outputs = _ports(kind, fields)
        # XNNPACK knows no names.
        used = [names[i] for i in inputs]
        used += [f"{name}/scale" for name in used if f"{name}/scale" in graph.tensors]
        graph.nodes.append(Node(kind, f"{partition}/{index}", used, [names[i] for i in outputs], fields))


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


def _tensor(dtype: str, shape: list[Any], stored: list[dict[str, Any]], index: int, partition: str) -> Tensor:
    if index == 0:
        return Tensor(dtype, shape)
    constant = stored[index]
    # A named constant is in the file once, whichever partitions use it.
    storage = constant["named_key"] or (partition, index)
    return Tensor(dtype, shape, int(constant["size"]), storage)


def _ports(kind: str, fields: dict[str, Any]) -> tuple[list[int], list[int]]:
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
