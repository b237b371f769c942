"""Tells a disk that is full or cannot be written from other failures."""

from __future__ import annotations

import errno
import os
import re
import tempfile
from pathlib import Path

from edgedistill.errors import EdgeDistillError, StorageFailed

EXIT_STATUS = 74
"""How a child process ends that could not write: EX_IOERR of sysexits.h."""
_SPACE = "free some space there"
_REASONS = {
    errno.ENOSPC: ("the disk is full", _SPACE),
    errno.EDQUOT: ("the disk quota is used up", _SPACE),
    errno.EFBIG: ("the file is larger than the limit of this user or of the file system", "raise the limit (`ulimit -f`)"),
    errno.EROFS: ("the file system is read-only", "make it writable, or choose another folder"),
    errno.EACCES: ("this user has no permission", "grant it, or choose another folder"),
    errno.EPERM: ("this user has no permission", "grant it, or choose another folder"),
}
# Libraries in other languages put the reason into a text; NumPy and the writer of zip files do not even name it.
_TEXTS = (
    (re.compile(r"No space left on device|os error 28\b|[Dd]isk is full|\d+ requested and \d+ written"), errno.ENOSPC),
    (re.compile(r"Disk quota exceeded|os error 122\b|the disk quota is used up"), errno.EDQUOT),
    (re.compile(r"File too large|os error 27\b|the file is larger than the limit"), errno.EFBIG),
    (re.compile(r"Read-only file system|os error 30\b|the file system is read-only"), errno.EROFS),
)
_PROBE_BYTES = 1 << 16


def failure_of(error: BaseException, where: Path | None = None) -> StorageFailed | None:
    """What to tell of `error` where it, or an error that it was raised for, says that something could not be written; else None.

    where: named if the error names no file.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, StorageFailed):
            return seen
        if isinstance(seen, EdgeDistillError):
            return None
        number = seen.errno if isinstance(seen, OSError) and seen.errno in _REASONS else _number_in(str(seen))
        if number is not None:
            named = getattr(seen, "filename", None)
            return _failure(number, Path(os.fsdecode(named)) if isinstance(named, str | bytes) else where)
        seen = seen.__cause__ or seen.__context__
    return None


def failure_in(text: str, folder: Path, status: int | None = None) -> StorageFailed | None:
    """What to tell where the last words or the exit status of a child process say that something could not be written, or where nothing
    can be in `folder`."""
    number = _number_in(text) or (errno.ENOSPC if status == EXIT_STATUS else None)
    if number is not None:
        return _failure(number, folder)
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_PROBE_BYTES))
            file.flush()
    except OSError as error:
        return failure_of(error, folder)
    return None


def _number_in(text: str) -> int | None:
    return next((number for pattern, number in _TEXTS if pattern.search(text)), None)


def _failure(number: int, path: Path | None) -> StorageFailed:
    found, todo = _REASONS[number]
    what = "opened" if number in (errno.EACCES, errno.EPERM) else "written"
    return StorageFailed(f"{path or 'a file'} can't be {what}: {found}; {todo}, and the same command continues")
