"""The format `toy`: a .toy file is a list of operators with their constants, and numpy computes it."""

from pathlib import Path

from edgedistill.backends import Adapter, Backend


def _matches(path: Path, head: bytes) -> bool:
    """A .toy file is a ZIP archive, as numpy writes it; the suffix decides."""
    return head.startswith(b"PK") and path.suffix == ".toy"


TOY = Backend(
    format="toy",
    title="Toy",
    suffix=".toy",
    lower="toykit.lower",
    inspect="toykit.inspect",
    matches=_matches,
    identified=False,
    precisions=("int8", "fp32", "int8-static"),
    twin="fp32",
    inputs=("float32-nchw",),
    adapters=(Adapter("toykit.adapter", "toykit"),),
    packages=("toykit", "torch"),
    integer_kernels=False,
)
