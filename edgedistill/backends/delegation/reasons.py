"""Why runtimes leave operators to slower kernels: what is known, by format and operator.

Of a .pte it is what the partitioner of executorch 1.5.1 checks (backends/xnnpack/partition/config); of the others what was seen with
ai-edge-litert 2.3.0 and onnxruntime 1.32.0.
"""

_UNKNOWN = "the delegate did not take it, no reason is known"
_NO_RULE = "ExecuTorch's partitioner for XNNPACK has no rule for it"
_TENSORS = "XNNPACK takes it between two tensors of float or int8 only"
_NO_INTEGER = "ONNX Runtime has no integer kernel for it on the CPU, and computes it in float"
_NOT_FUSED = "ONNX Runtime fuses it only between quantized values; here an input or the output is float"

_REASONS: dict[str, dict[str, str]] = {
    "executorch": {
        "_softmax": "XNNPACK takes a softmax over the last dimension only",
        "_to_dim_order_copy": "XNNPACK does not convert between types, such as bytes, or an integer constant, to float",
        "avg_pool2d": "XNNPACK takes it in float only, without ceil_mode, and without counting zeros of a padding",
        "mean": "XNNPACK takes a mean over both dimensions of an image only, with keepdim",
        "pow": "XNNPACK takes the square only",
        "slice_copy": "XNNPACK takes it only where the scale of input and output is the same",
        "unsqueeze_copy": "XNNPACK takes it at the last dimension only",
        **dict.fromkeys(("add", "sub", "mul", "div"), _TENSORS),
    },
    "litert": {
        "CAST": "LiteRT's XNNPACK does not convert between types, such as bytes to float",
        "QUANTIZE": "LiteRT's XNNPACK does not take it between uint8 and int8",
        "PADV2": "LiteRT's XNNPACK pads with zero only; padding before a maximum is the smallest number",
        "HARD_SWISH": "LiteRT's XNNPACK takes it in float only; ReLU and ReLU6 are taken in int8",
        "GELU": "LiteRT's XNNPACK takes it in float only",
    },
    "onnx": {
        **dict.fromkeys(("ReduceMean", "Div", "LayerNormalization", "HardSigmoid", "Gelu", "Erf", "Tanh", "Pow"), _NO_INTEGER),
        **dict.fromkeys(("Conv", "Gemm", "MatMul", "Add", "Mul", "Softmax", "Sigmoid"), _NOT_FUSED),
    },
}
# What the partitioner has a rule for: left for a reason of its own, where it was left.
_RULES = {
    "_clone_dim_order", "_native_batch_norm_legit_no_training", "_softmax", "_to_dim_order_copy", "abs", "add", "addmm", "avg_pool2d",
    "bmm", "cat", "ceil", "choose_qparams_affine", "clamp", "clone", "constant_pad_nd", "convolution", "cos", "dequantize_affine",
    "dequantize_per_tensor", "div", "exp", "floor", "gelu", "hardswish", "hardtanh", "leaky_relu", "linear", "log", "max",
    "max_pool2d", "maximum", "mean", "minimum", "mm", "mul", "neg", "permute_copy", "pow", "prelu", "quantize_affine",
    "quantize_per_tensor", "relu", "rsqrt", "sigmoid", "sin", "slice_copy", "sqrt", "sub", "tanh", "unsqueeze_copy",
    "upsample_bilinear2d", "view_copy",
}  # fmt: skip


def why(kind: str, operator: str) -> str:
    """Why the runtime of format `kind`, or a delegate, leaves `operator`, in words; that no reason is known where none is."""
    unknown = _NO_RULE if kind == "executorch" and operator not in _RULES else _UNKNOWN
    return _REASONS.get("onnx" if kind == "ort" else kind, {}).get(operator, unknown)
