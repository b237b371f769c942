"""A bundle that came from elsewhere, a folder or a .zip: nothing in it is trusted, and no file is unpacked."""

from __future__ import annotations

import hashlib
import lzma
import re
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

from edgedistill.errors import UserError
from edgedistill.records.manifest import MANIFEST_FILE

_CHUNK = 2**20
_MOST_FILES = 100_000
_MOST_BYTES = 64 * 2**30
_RATIO = 200
_SMALL = 2**20
"""A file of a .zip that is larger than this, and that many times as large as what is stored of it, was made to fill a disk."""
_MOST_MANIFEST = 16 * 2**20
_UNREADABLE = (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, lzma.LZMAError)
"""What zipfile raises of a damaged file; an unknown compression is a RuntimeError, a NotImplementedError."""
_DRIVE = re.compile(r"^[A-Za-z]:")


@dataclass(frozen=True)
class OpenedBundle:
    """The files of a bundle.

    sizes: bytes of each file by its path. problems: what is wrong with paths and sizes; such files are not among `sizes`.
    """

    path: Path
    sizes: dict[str, int]
    _open: Callable[[str], IO[bytes]]
    problems: list[str] = field(default_factory=list)

    def open(self, name: str) -> IO[bytes]:
        """The file `name`. Raises UserError where there is none."""
        if name not in self.sizes:
            raise UserError(f"{self.path} has no file {name}")
        return self._open(name)

    def read(self, name: str, most: int = _MOST_MANIFEST) -> bytes:
        """The bytes of a file. Raises UserError where there is none, where it has more than `most` bytes, or where it can't be read."""
        if self.sizes.get(name, 0) > most:
            raise UserError(f"{name} of {self.path} has {self.sizes[name]:,} bytes, expected {most:,} at most")
        with _told(self.path, name), self.open(name) as file:
            return file.read(most + 1)

    def sha256(self, name: str) -> str:
        """The SHA-256 of a file."""
        digest = hashlib.sha256()
        with _told(self.path, name), self.open(name) as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
        return digest.hexdigest()


def unsafe(name: str) -> str | None:
    """Why a path must not be used as one within a bundle; None for a good one."""
    path = PurePosixPath(name)
    if not name or "\0" in name or "\\" in name:
        return "it is empty or has a backslash or a zero byte"
    if path.is_absolute() or _DRIVE.match(name):
        return "it is absolute"
    if ".." in path.parts:
        return "it has '..'"
    return None


@contextmanager
def opened(path: Path) -> Iterator[OpenedBundle]:
    """The bundle at `path`, a folder or a .zip. Raises UserError where there is neither."""
    if path.is_dir():
        yield _folder(path)
        return
    if not path.is_file():
        raise UserError(f"found no bundle at {path}, expected a folder with {MANIFEST_FILE}, or a .zip of one")
    try:
        archive = zipfile.ZipFile(path)
    except _UNREADABLE as error:
        raise UserError(f"{path} is no .zip file, or it is cut off ({error}); get it again") from error
    with archive:
        yield _archive(path, archive)


def _folder(path: Path) -> OpenedBundle:
    sizes, problems = {}, []
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path).as_posix()
        if file.is_symlink():
            problems.append(f"{name} is a link, expected a file: a bundle has no links")
        elif file.is_file():
            sizes[name] = file.stat().st_size
        elif not file.is_dir():
            problems.append(f"{name} is no plain file")
    return OpenedBundle(path, sizes, lambda name: (path / name).open("rb"), problems)


def _archive(path: Path, archive: zipfile.ZipFile) -> OpenedBundle:
    sizes: dict[str, int] = {}
    problems: list[str] = []
    entries = archive.infolist()
    if len(entries) > _MOST_FILES:
        raise UserError(f"{path} has {len(entries):,} files, expected {_MOST_FILES:,} at most")
    total = 0
    for entry in entries:
        name, mode = entry.filename, entry.external_attr >> 16
        total += entry.file_size
        if why := unsafe(name):
            problems.append(f"the path {name[:100]!r} is not allowed: {why}")
        elif stat.S_ISLNK(mode):
            problems.append(f"{name} is a link, expected a file: a bundle has no links")
        elif name in sizes:
            problems.append(f"{name} is there twice")
        elif entry.flag_bits & 1:
            problems.append(f"{name} is encrypted")
        elif entry.file_size > max(_SMALL, _RATIO * entry.compress_size):
            problems.append(f"{name} would unpack {entry.compress_size:,} to {entry.file_size:,} bytes: it was made to fill a disk")
        elif not entry.is_dir():
            sizes[name] = entry.file_size
    if total > _MOST_BYTES:
        raise UserError(f"{path} would unpack to {total:,} bytes, expected {_MOST_BYTES:,} at most")
    return OpenedBundle(path, sizes, archive.open, problems)


@contextmanager
def _told(path: Path, name: str) -> Iterator[None]:
    """UserError for what the block raises where a file of a bundle can't be read to its end."""
    try:
        yield
    except _UNREADABLE as error:
        raise UserError(f"{name} of {path} can't be read ({error}); get the bundle again") from error
