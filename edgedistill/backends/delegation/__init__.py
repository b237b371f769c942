"""What of a file a runtime gives to its accelerated kernels, and what is left, and why.

`python -m edgedistill.backends.delegation FORMAT FILE` prints the report of a file as JSON.
"""

from pathlib import Path
from typing import Any

from edgedistill.child import ask


def delegation(kind: str, path: Path) -> dict[str, Any]:
    """The report of an artifact of format `kind`; a child process opens the file, since runtimes crash.

    partitions: parts that the delegate takes. outside: {operator: count} of what it does not take.
    operators: {who computes them: {operator: count}}. fallbacks: a list of {operator, count, layers, why}.
    transposes: {operator: count} of what only changes the order of dimensions.
    layers: a list of {name, operator, delegate, macs, bytes, activation_bytes}: who of `operators` computes it, null where it is left;
    bytes of its weights and of its result. macs, bytes: their sums; see `export.inspect`.

    ONNX Runtime (.onnx, .ort) has no delegate here: `partitions` is 1, and `outside` counts the operators that compute in floating
    point, which in a quantized file were not fused into an integer kernel. Of Core ML it has `unavailable`, with the
    reason, `operators`, and the layers.

    Raises DeviceFailed when the runtime does not open the file.
    """
    return ask("edgedistill.backends.delegation", kind, str(path), failed=f"{path}: {kind} does not open it")
