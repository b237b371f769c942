"""LiteRT: weights as integers, unpacked before a float operator or multiplied with activations that are quantized as they come."""

from edgedistill.quantize.grid import BLOCK


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
            work.add_dynamic_config(".*", linear, 4, granularity[f"BLOCKWISE_{BLOCK}"])
    else:
        for name in (operators.CONV_2D, operators.DEPTHWISE_CONV_2D, operators.FULLY_CONNECTED):
            work.add_weight_only_config(".*", name, 8, granularity.CHANNELWISE)
    return bytes(work.quantize().quantized_model)
