"""Atomic writes and content hashes. After a crash a file is absent, old or complete, but never partial."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

_CHUNK = 1 << 20


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Provide a temporary path next to `path`. If the block succeeds, the file is synced and replaces `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Keep the suffix, since some writers (numpy, converters) append or check it.
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        with open(temporary, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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


def read_json(path: Path) -> Any:
    """Read one JSON document."""
    return json.loads(path.read_text())


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


def canonical_hash(value: Any) -> str:
    """SHA-256 of the JSON form of `value` with sorted keys, so that equal data have equal hashes."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def write_arrays(folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write each array as `NAME.npy` into `folder`."""
    import numpy as np

    folder.mkdir(parents=True, exist_ok=True)
    for name, values in arrays.items():
        with replacing(folder / f"{name}.npy") as temporary:
            np.save(temporary, values)


def read_arrays(folder: Path) -> dict[str, np.ndarray]:
    """The arrays that `write_arrays` wrote into `folder`, by name; `rows.read_rows` reads them from the disk as they are used."""
    import numpy as np

    return {path.stem: np.load(path) for path in sorted(folder.glob("*.npy"))}
