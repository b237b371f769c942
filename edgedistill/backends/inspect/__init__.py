"""What is inside a model file: inputs, outputs, operators, precisions, sizes by layer, whoever made it; see `inspect`."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from edgedistill.errors import UserError
from edgedistill.files import sha256_tree, tree_bytes

NAMES = {"executorch": "ExecuTorch", "litert": "LiteRT", "onnx": "ONNX", "ort": "ORT", "coreml": "Core ML"}
SUFFIXES = {"executorch": ".pte", "litert": ".tflite", "onnx": ".onnx", "ort": ".ort", "coreml": ".mlpackage"}
_DELEGATES = {"CoreMLBackend": "coreml", "VulkanBackend": "vulkan"}
_EXPECTED = "a .pte, .tflite, .onnx or .ort file, or an .mlpackage folder"
# The first bytes of what is often given instead.
_FOREIGN = {
    b"PK\x03\x04": "a ZIP archive: a PyTorch .pt or .pt2 has to be exported, a zipped package unpacked",
    b"\x1f\x8b": "a gzip archive, which has to be unpacked",
    b"\x89HDF": "an HDF5 file, as Keras writes",
    b"GGUF": "a GGUF file",
}
_TIMEOUT_S = 120


def inspect(path: Path) -> dict[str, Any]:
    """What the model file or package `path` holds, in the same shape for every format; see docs/cli.md for the fields.

    Nothing is executed. A child process with limited memory reads the file, since parsers crash on damaged ones. The kind is told by the
    content and only then by the name; a name that does not fit is in `warnings`.

    Raises UserError when there is no such file, when it is no model file, and when it is damaged.
    """
    try:
        kind = _kind(path)
        facts = {"format": kind, "path": str(path), "bytes": tree_bytes(path), "sha256": sha256_tree(path)}
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror or error}; expected {_EXPECTED}") from error
    warnings = []
    if path.suffix.lower() != SUFFIXES[kind]:
        warnings.append(f"{path} holds {NAMES[kind]}; most programs expect such a file to be named {SUFFIXES[kind]}")
    return facts | _read(kind, path) | {"warnings": warnings}


def delegate_of(facts: dict[str, Any]) -> str | None:
    """The delegate, as targets name it, of the .pte with the facts of `inspect`; None for XNNPACK and for other formats."""
    delegates = facts["metadata"].get("delegates") if facts["format"] == "executorch" else None
    return next((_DELEGATES[d["id"]] for d in delegates or [] if d["id"] in _DELEGATES), None)


def _kind(path: Path) -> str:
    """The format of `path`."""
    if path.is_dir():
        if (path / "Manifest.json").is_file():
            return "coreml"
        raise UserError(f"{path} is a folder without the Manifest.json of a Core ML package; expected {_EXPECTED}")
    if not path.exists():
        raise UserError(f"{path} does not exist; expected {_EXPECTED}")
    if not path.is_file():
        raise UserError(f"{path} is neither a file nor a folder; expected {_EXPECTED}")
    with open(path, "rb") as handle:
        head = handle.read(16)
    suffix = path.suffix.lower()
    if not head:
        raise UserError(f"{path} is empty (0 bytes); expected {_EXPECTED}: export or copy it again")
    # Flatbuffers have their identifier after the offset of the root table.
    identifier = head[4:8]
    if identifier == b"TFL3":
        return "litert"
    if identifier[:2] == b"ET" and identifier[2:].isdigit():
        return "executorch"
    if identifier == b"ORTM":
        return "ort"
    for start, what in _FOREIGN.items():
        if head.startswith(start):
            raise UserError(f"{path} is {what}; expected {_EXPECTED}")
    # ONNX has no identifier. Writers begin with field 1, the version of the representation, a small number.
    if suffix == ".onnx" or (suffix not in SUFFIXES.values() and head[0] == 0x08 and 0 < head[1] < 0x20):
        return "onnx"
    raise UserError(
        f"{path} begins with the bytes {head[:8].hex(' ')}, which no known format has; expected {_EXPECTED}. "
        "If it is one, it is damaged: export or copy it again"
    )


def _read(kind: str, path: Path) -> dict[str, Any]:
    """What the reader of `kind`, in a process of its own, says about the file."""
    what = f"{path} can't be read as {NAMES[kind]}"
    todo = f"Expected a whole {SUFFIXES[kind]}: export or copy it again"
    command = [sys.executable, "-m", "edgedistill.backends.inspect.worker", kind, str(path)]
    # Threads of numerical libraries would only reserve memory, which is limited.
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, env=environment, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise UserError(f"{what}: the reader did not end within {_TIMEOUT_S} s. {todo}") from error
    lines = done.stdout.decode(errors="replace").splitlines()
    try:
        answer = json.loads(lines[-1])
    except (IndexError, ValueError) as error:
        raise UserError(f"{what}: the reader crashed on it (exit status {done.returncode}), so it is damaged. {todo}") from error
    if "unsupported" in answer:
        raise UserError(f"{what}: {answer['unsupported']}")
    if "damaged" in answer:
        raise UserError(f"{what}: it is cut off, damaged or something else ({answer['damaged']}). {todo}")
    return answer
