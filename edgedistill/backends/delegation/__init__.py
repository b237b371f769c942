"""What of a file a runtime gives to its accelerated kernels, and what is left, and why.

`python -m edgedistill.backends.delegation FORMAT FILE` prints the report of a file as JSON.
"""

from pathlib import Path

from pydantic import TypeAdapter

from edgedistill.child import ask
from edgedistill.records import Delegation, Unavailable, UnknownDelegation


def delegation(kind: str, path: Path) -> Delegation | UnknownDelegation | Unavailable:
    """Who computes the operators of an artifact of format `kind`; a child process opens the file, since runtimes crash.

    ONNX Runtime (.onnx, .ort) has no delegate here: `partitions` is 1, and `outside` counts the operators that compute in floating
    point, which in a quantized file were not fused into an integer kernel. Of Core ML it is not known who computes them.

    Raises DeviceFailed when the runtime does not open the file.
    """
    report = ask("edgedistill.backends.delegation", kind, str(path), failed=f"{path}: {kind} does not open it")
    return TypeAdapter(Delegation | UnknownDelegation | Unavailable).validate_python(report)
