"""What is inside a model file: inputs, outputs, operators, precisions, sizes by layer, whoever made it; see `inspect`."""

import json
import subprocess
from pathlib import Path

from edgedistill import child
from edgedistill.backends import Backend, backend, backends, of_suffix
from edgedistill.backends.inspect.ports import signature_of
from edgedistill.errors import UserError
from edgedistill.files import sha256_tree, tree_bytes
from edgedistill.measure.runner import bounded
from edgedistill.records.inspection import Content, Inspection, ModelFile

# The first bytes of what is often given instead.
_FOREIGN = {
    b"PK\x03\x04": "a ZIP archive: a PyTorch .pt or .pt2 has to be exported, a zipped package unpacked",
    b"\x1f\x8b": "a gzip archive, which has to be unpacked",
    b"\x89HDF": "an HDF5 file, as Keras writes",
    b"GGUF": "a GGUF file",
}
_TIMEOUT_S = 120


def inspect(path: Path) -> Inspection:
    """What the model file or package `path` holds, in the same shape for every format; see docs/cli.md for the fields.

    Nothing is executed. A child process with limited memory reads the file, since parsers crash on damaged ones. The kind is told by the
    content and only then by the name; a name that does not fit is in `warnings`.

    Raises UserError when there is no such file, when it is no model file, and when it is damaged.
    """
    try:
        kind = _kind(path)
        file = ModelFile(format=kind.format, path=str(path), bytes=tree_bytes(path), sha256=sha256_tree(path))
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror or error}; expected {expected_files()}") from error
    warnings = []
    if path.suffix.lower() != kind.suffix:
        warnings.append(f"{path} holds {kind.title}; most programs expect such a file to be named {kind.suffix}")
    content = _read(kind, path)
    signature = signature_of(content.inputs, content.outputs)
    return Inspection(**dict(file), **dict(content), signature=signature, warnings=warnings)


def delegate_of(inspection: Inspection) -> str | None:
    """The delegate, as targets name it, of an inspected file; None for the usual one."""
    names = {delegate.id: name for name, delegate in backend(inspection.format).delegates.items()}
    # Elsewhere metadata may have any meaning.
    parts = inspection.delegates if names else []
    return next((names[part.id] for part in parts if part.id in names), None)


def expected_files() -> str:
    """What `inspect` reads, in words."""
    *others, last = (own.suffix for own in backends().values())
    return f"a {', '.join(others)} or {last}, file or folder"


def _kind(path: Path) -> Backend:
    """The backend of the format of `path`."""
    every = sorted(backends().values(), key=lambda own: not own.identified)
    if path.is_dir():
        if (kind := next((own for own in every if own.matches(path, b"")), None)) is not None:
            return kind
        folders = " and ".join(f"the {own.marker} of a {own.title} package" for own in every if own.marker)
        raise UserError(f"{path} is a folder without {folders}; expected {expected_files()}")
    if not path.exists():
        raise UserError(f"{path} does not exist; expected {expected_files()}")
    if not path.is_file():
        raise UserError(f"{path} is neither a file nor a folder; expected {expected_files()}")
    with open(path, "rb") as handle:
        head = handle.read(64)
    if not head:
        raise UserError(f"{path} is empty (0 bytes); expected {expected_files()}: export or copy it again")
    if (kind := next((own for own in every if own.matches(path, head)), None)) is not None:
        return kind
    for start, what in _FOREIGN.items():
        if head.startswith(start):
            raise UserError(f"{path} is {what}; expected {expected_files()}")
    if (kind := of_suffix(path)) is not None and not kind.identified:
        return kind
    raise UserError(
        f"{path} begins with the bytes {head[:8].hex(' ')}, which no known format has; expected {expected_files()}. "
        "If it is one, it is damaged: export or copy it again"
    )


def _read(kind: Backend, path: Path) -> Content:
    """What the reader of `kind`, in a process of its own, finds in the file."""
    what = f"{path} can't be read as {kind.title}"
    todo = f"Expected a whole {kind.suffix}: export or copy it again"
    command = child.command("edgedistill.backends.inspect.worker", kind.format, str(path))
    # Threads of numerical libraries would only reserve memory, which is limited.
    environment = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    try:
        process = child.run(command, timeout_s=_TIMEOUT_S, environment=environment)
    except subprocess.TimeoutExpired as error:
        raise UserError(f"{what}: the reader did not end within {_TIMEOUT_S} s. {todo}") from error
    except bounded.TooMuchOutput as error:
        raise UserError(f"{what}: the reader had more to say than a model file can hold ({error}). {todo}") from error
    return _content(process.stdout, process.returncode, what, todo)


def _content(printed: str, code: int, what: str, todo: str) -> Content:
    """What the process `worker` printed in its last line."""
    try:
        answer = json.loads(printed.splitlines()[-1])
    except (IndexError, ValueError) as error:
        raise UserError(f"{what}: the reader crashed on it (exit status {code}), so it is damaged. {todo}") from error
    if "unsupported" in answer:
        raise UserError(f"{what}: {answer['unsupported']}")
    if "damaged" in answer:
        raise UserError(f"{what}: it is cut off, damaged or something else ({answer['damaged']}). {todo}")
    return Content.model_validate(answer)
