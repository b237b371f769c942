"""Core AI: an .aimodel folder, for iOS 27 and macOS 27. Its own runtime executes it on Linux too, as an interpreter."""

from pathlib import Path

from edgedistill.backends.base import STATIC, Adapter, Backend, Glue

_DYNAMIC = "Core AI has no operator that quantizes activations by their range at run time"
_NO_RULE = "coreai-torch has no rule for it (0.4.3); take onnx or coreml"
_TYPES = "Core AI takes float16, float32, integers of up to 32 bits and bool"

_MARKER = "main.mlirb"


def _matches(path: Path, head: bytes) -> bool:
    return path.is_dir() and (path / _MARKER).is_file()


COREAI = Backend(
    format="coreai",
    title="Core AI",
    suffix=".aimodel",
    lower="edgedistill.backends.coreai.lower",
    inspect="edgedistill.backends.coreai.inspect",
    delegation="edgedistill.backends.coreai.delegation",
    matches=_matches,
    marker=_MARKER,
    precisions=("int8", "fp16", "fp32", *STATIC, "int8-weights", "int4-weights", "palette4"),
    twin="fp16",
    inputs=("float32-nchw",),
    adapters=(
        Adapter(
            "edgedistill.backends.coreai.adapter",
            "coreai-core",
            on_device=False,
            title="Core AI runtime",
            untimed="Core AI's runtime for Linux is an interpreter, not a device: its outputs count, its times do not",
        ),
    ),
    refusals={
        "int16x8": "it was not tried in Core AI; take int8-weights",
        "int8-dynamic": f"{_DYNAMIC}; take int8-weights",
        "int4-dynamic": f"{_DYNAMIC}; take int4-weights",
        "uint8-nhwc": "edgedistill gives a Core AI file no input of bytes; take float32-nchw",
        "image": "edgedistill gives a Core AI file no input of an image; take float32-nchw",
    },
    glue={"swift": Glue("coreAI")},
    packages=("coreai-torch", "coreai-core", "coreai-opt", "torch"),
    extra="coreai",
    minimum_os={"ios": "27", "macos": "27"},
    integer_kernels=False,
    stored_types={"int64": "int32"},
    refused_types={"float64": f"{_TYPES}; let the module take and give float32"},
    refused_operators=dict.fromkeys(("conv_transpose3d", "max_pool3d", "grid_sampler", "sort", "argmin"), _NO_RULE),
    doctor="edgedistill.backends.coreai.doctor",
)
