"""ExecuTorch: a .pte, computed by XNNPACK unless it names another delegate."""

from dataclasses import replace
from pathlib import Path

from edgedistill.backends.base import STATIC, Adapter, Backend, Delegate, Glue

_DROPPED = "XNNPACK's lowering drops the scales of weight-only integers without a word, and the file computes with the bare integers"
_TABLES = "only Core ML unpacks weights from a table of values"
_PACKAGE = "ExecuTorch's lowering to Core ML would put weights on a grid of its own; take format coreml"
_GPU = "ExecuTorch's operators for Vulkan take such weights in linear layers only; take int8"
_DYNAMIC = "Core ML has no operator that quantizes activations by their range at run time; take int8"
_WIDE = "ExecuTorch lowers no activations of 16 bits to it; take int8"
_BYTES = "ExecuTorch's own kernels make an image of bytes, beside XNNPACK only; take float32-nchw"
_TENSORS = "XNNPACK takes it between two tensors of float or int8 only"
# The program of a package is taken out of the file and executed operator by operator.
_MIL = Adapter("edgedistill.backends.coreml.mil.delegate", "coremltools", executed_by="mil_float64", on_device=False, float16=False)
# What executorch 1.5.1's partitioner has a rule for (backends/xnnpack/partition/config); what it leaves of these has a reason of its own.
_RULES = frozenset({
    "_clone_dim_order", "_native_batch_norm_legit_no_training", "_softmax", "_to_dim_order_copy", "abs", "add", "addmm", "avg_pool2d",
    "bmm", "cat", "ceil", "choose_qparams_affine", "clamp", "clone", "constant_pad_nd", "convolution", "cos", "dequantize_affine",
    "dequantize_per_tensor", "div", "exp", "floor", "gelu", "hardswish", "hardtanh", "leaky_relu", "linear", "log", "max",
    "max_pool2d", "maximum", "mean", "minimum", "mm", "mul", "neg", "permute_copy", "pow", "prelu", "quantize_affine",
    "quantize_per_tensor", "relu", "rsqrt", "sigmoid", "sin", "slice_copy", "sqrt", "sub", "tanh", "unsqueeze_copy",
    "upsample_bilinear2d", "view_copy",
})  # fmt: skip


def _matches(path: Path, head: bytes) -> bool:
    # A flatbuffer has its identifier behind the offset of the root table; here it counts versions.
    return head[4:6] == b"ET" and head[6:8].isdigit()


# The newest branch for Swift packages that was seen: https://docs.pytorch.org/executorch/stable/using-executorch-ios.html
_SWIFT = '.package(url: "https://github.com/pytorch/executorch.git", branch: "swiftpm-1.4.1")'
_PRODUCTS = ("executorch", "backend_xnnpack", "backend_coreml", "kernels_optimized", "kernels_quantized")

EXECUTORCH = Backend(
    format="executorch",
    title="ExecuTorch",
    suffix=".pte",
    lower="edgedistill.backends.executorch.lower",
    inspect="edgedistill.backends.executorch.inspect",
    delegation="edgedistill.backends.executorch.delegation",
    matches=_matches,
    precisions=("int8", "fp32", *STATIC, "int8-dynamic", "int4-dynamic"),
    twin="fp32",
    inputs=("float32-nchw", "uint8-nhwc"),
    adapters=(
        Adapter("edgedistill.backends.executorch.adapter", "executorch"),
        Adapter("edgedistill.backends.executorch.adapter_numpy", "executorch-numpy-runtime", in_kit=True),
    ),
    refusals={
        "int16x8": "XNNPACK has no kernels with 16-bit activations; take int8 or int8-dynamic",
        "int8-weights": f"{_DROPPED}; take int8-dynamic",
        "int4-weights": f"{_DROPPED}; take int4-dynamic",
        "palette4": f"{_TABLES}; take int4-dynamic",
        "image": "only Core ML takes an image of the operating system; take uint8-nhwc",
    },
    delegates={
        "coreml": Delegate(
            precisions=("int8", "fp16", *STATIC),
            needs="ExecuTorch's Core ML delegate runs on an iPhone, iPad or Mac only: check it there, with the bundle's golden images "
            "and outputs",
            refusals={
                "fp32": "the Neural Engine computes in float16 only; take fp16",
                "int8-dynamic": _DYNAMIC,
                "int4-dynamic": _DYNAMIC,
                "int8-weights": _PACKAGE,
                "int4-weights": _PACKAGE,
                "palette4": _PACKAGE,
                "int16x8": _WIDE,
                "uint8-nhwc": _BYTES,
                "image": _BYTES,
            },
            executed_as="coreml",
            adapters=(_MIL, replace(_MIL, executed_by="mil_float16", float16=True)),
            refuses="edgedistill.backends.executorch.taken_out",
            id="CoreMLBackend",
        ),
        "vulkan": Delegate(
            precisions=("int8", "fp16", "fp32", *STATIC),
            needs="ExecuTorch's Vulkan delegate is not in its Python package and needs a GPU's driver: check it on the phone, in the app "
            "or by executor_runner built with Vulkan, with the bundle's golden images and the outputs of a file for XNNPACK",
            refusals={
                "palette4": f"{_TABLES}; take int8",
                "int8-weights": _GPU,
                "int4-weights": _GPU,
                "int8-dynamic": _GPU,
                "int4-dynamic": _GPU,
                "int16x8": _WIDE,
                "uint8-nhwc": _BYTES,
                "image": _BYTES,
            },
            refused_operators=dict.fromkeys(
                ("conv3d", "conv_transpose3d", "max_pool3d", "avg_pool3d"), "Vulkan has operators of 1D and 2D only; take onnx or coreml"
            ),
            id="VulkanBackend",
        ),
    },
    packages=("executorch", "torch", "torchao"),
    # The oldest one that files are tried with, by the kit for devices.
    minimum_runtime=lambda made: {"executorch": "1.3"},
    glue={
        "python": Glue("executorch_runtime", ("executorch-numpy-runtime>=1.4",)),
        "kotlin": Glue('ExecuTorch(version = "1.3.1")', ("org.pytorch:executorch-android:1.3.1",)),
        "swift": Glue("execuTorch", (_SWIFT,), tuple(f'.product(name: "{name}", package: "executorch")' for name in _PRODUCTS)),
    },
    minimum_os={"android": "8.0 (API 26)", "ios": "17"},
    operators="executorch.exir",
    default_delegate="xnnpack",
    budgeted=True,
    state="inside",
    # Its attention computes what the mask hides, in the longest pieces most; weights in float32 are read anew for each piece.
    prompt_pieces={"int8-dynamic": 32, "int4-dynamic": 32},
    planar=True,
    refused_operators={
        "sort": "ExecuTorch has no kernel of it; take onnx or coreml",
        "conv_transpose3d": "ExecuTorch has no kernel of 3D transposed convolutions; take onnx or coreml",
        **dict.fromkeys(("max_pool3d", "avg_pool3d"), "ExecuTorch has kernels of 2D pools only; take onnx, coreml or litert"),
    },
    reasons={
        "_softmax": "XNNPACK takes a softmax over the last dimension only",
        "_to_dim_order_copy": "XNNPACK does not convert between types, such as bytes, or an integer constant, to float",
        "avg_pool2d": "XNNPACK takes it in float only, without ceil_mode, and without counting zeros of a padding",
        "mean": "XNNPACK takes a mean over both dimensions of an image only, with keepdim",
        "pow": "XNNPACK takes the square only",
        "slice_copy": "XNNPACK takes it only where the scale of input and output is the same",
        "unsqueeze_copy": "XNNPACK takes it at the last dimension only",
        **dict.fromkeys(("add", "sub", "mul", "div"), _TENSORS),
        **dict.fromkeys(("update_cache", "custom_sdpa"), "ExecuTorch's own fast kernels compute attention over a cache"),
        **dict.fromkeys(("sym_size", "floordiv", "_local_scalar_dense"), "it computes a size or a position, once a call"),
    },
    takes=_RULES,
    untaken="ExecuTorch's partitioner for XNNPACK has no rule for it",
    doctor="edgedistill.backends.executorch.doctor",
)
