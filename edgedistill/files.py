"""Atomic writes and content hashes. After a crash a file is absent, old or complete, but never partial."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedistill import storage
from edgedistill.errors import DamagedFile

if TYPE_CHECKING:
    import numpy as np

_CHUNK = 1 << 20


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Provide a temporary path next to `path`. If the block succeeds, the file is synced and replaces `path`.

    Raises StorageFailed, which names `path`, where the disk is full or cannot be written.
    """
    # Keep the suffix, since some writers (numpy, converters) append or check it.
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    except Exception as error:
        if failure := storage.failure_of(error, path):
            raise failure from error
        raise
    finally:
        if os.path.lexists(temporary):
            temporary.unlink()


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 to `path` atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON; NaN and infinity raise ValueError, since they are not JSON."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Raise DamagedFile, which names `path`, for what readers of the block raise of a file that is missing, empty, cut off or foreign."""
    try:
        yield
    except DamagedFile:
        raise
    except FileNotFoundError as error:
        raise DamagedFile(Path(error.filename or path), "is missing") from error
    except (ValueError, EOFError, LookupError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        empty = path.is_file() and path.stat().st_size == 0
        raise DamagedFile(path, "is empty" if empty else "is damaged: it is cut off, or it is something else") from error


def read_json(path: Path) -> Any:
    """Read one JSON document. Raises DamagedFile where it is none."""
    with reading(path):
        return json.loads(path.read_text(encoding="utf-8"))


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        while chunk := handle.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def sha256_tree(path: Path) -> str:
    """SHA-256 of a file, or of a folder's relative names and contents in sorted order."""
    if path.is_file():
        return sha256_file(path)
    lines = [f"{sha256_file(p)}  {p.relative_to(path).as_posix()}\n" for p in sorted(path.rglob("*")) if p.is_file()]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def tree_bytes(path: Path) -> int:
    """Size in bytes of a file, or of all files in a folder."""
    return path.stat().st_size if path.is_file() else sum(p.stat().st_size for p in path.rglob("*") if p.is_file())


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it; nothing where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def overwrite(path: Path) -> None:
    """Remove like `remove`, and write zeros over the bytes of each file before, so that nothing finds them in blocks that are free.

    A file with another name stays as it is under that name, and keeps its bytes: programs of a run may share it with a bundle.
    """
    files = [path] if path.is_file() else [*path.rglob("*")] if path.is_dir() and not path.is_symlink() else []
    for file in files:
        if file.is_symlink() or not file.is_file() or file.stat().st_nlink > 1:
            continue
        # A file that may not be written is nevertheless its owner's.
        file.chmod(file.stat().st_mode | 0o200)
        with open(file, "r+b") as opened:
            for start in range(0, size := file.stat().st_size, _CHUNK):
                opened.write(bytes(min(_CHUNK, size - start)))
            opened.flush()
            os.fsync(opened.fileno())
    remove(path)


def canonical_hash(value: Any) -> str:
    """SHA-256 of the JSON form of `value` with sorted keys, so that equal data have equal hashes."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def write_array(path: Path, values: np.ndarray) -> None:
    """Write an array as .npy to `path` atomically."""
    import numpy as np

    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.save(_Plain(file.write), values)  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Plain:
    """What NumPy takes for something else than a file: to a file it writes by itself, and does not say why it could not."""

    write: Callable[[bytes], int]


def write_arrays(folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write each array as `NAME.npy` into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in arrays.items():
        write_array(folder / f"{name}.npy", values)


def read_arrays(folder: Path) -> dict[str, np.ndarray]:
    """The arrays that `write_arrays` wrote into `folder`, by name; `rows.read_rows` reads them from the disk as they are used.

    Raises DamagedFile where one is no array.
    """
    return {path.stem: read_array(path) for path in sorted(folder.glob("*.npy"))}


def read_array(path: Path) -> np.ndarray:
    """The array in a .npy file. Raises DamagedFile where it holds none."""
    import numpy as np

    with reading(path):
        return np.load(path, allow_pickle=False)
