"""LiteRT: weights as integers, unpacked before a float operator or multiplied with activations that are quantized as they come."""

import re

from edgedistill.quantize.grid import BLOCK, in_blocks


def pack(data: bytes, precision: str) -> bytes:
    """The float model `data`, whose weights lie on the grid of `precision`, with weights as its integers.

    The scales that ai_edge_quantizer finds are those of the grid: max |w| / 127 by channel, and / 7 by block, rounded to bfloat16.
    """
    from ai_edge_quantizer import qtyping, quantizer

    # The constructor's annotation leaves out bytes, which it takes.
    work = quantizer.Quantizer(bytearray(data))
    operators, granularity = qtyping.TFLOperationName, qtyping.QuantGranularity
    if precision.endswith("-dynamic"):
        linear = operators.FULLY_CONNECTED
        work.add_dynamic_config(".*", linear, 8, granularity.CHANNELWISE)
        if precision.startswith("int4-"):
            for name in _in_blocks(data):
                work.add_dynamic_config(re.escape(name), linear, 4, granularity[f"BLOCKWISE_{BLOCK}"])
    else:
        for name in (operators.CONV_2D, operators.DEPTHWISE_CONV_2D, operators.FULLY_CONNECTED):
            work.add_weight_only_config(".*", name, 8, granularity.CHANNELWISE)
    return bytes(work.quantize().quantized_model)


def _in_blocks(data: bytes) -> list[str]:
    """Names of the outputs of the linear layers whose weights are whole blocks."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(data)
    chosen: list[str] = []
    for graph in model.subgraphs:
        linear = [op for op in graph.operators if model.operatorCodes[op.opcodeIndex].builtinCode == schema.BuiltinOperator.FULLY_CONNECTED]
        whole = [op for op in linear if in_blocks(tuple(graph.tensors[op.inputs[1]].shape))]
        chosen += [graph.tensors[op.outputs[0]].name.decode() for op in whole]
    return list(dict.fromkeys(chosen))
