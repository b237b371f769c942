"""Where temporary files go: into the folder of the run that is worked on, or beside those of the system; none stays."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = "edgedistill-"
_NAME = re.compile(rf"{_PREFIX}(\d+)-")
_HALF_WRITTEN = re.compile(r"\..+\.(\d+)\.tmp(\..+)?")
_root: Path | None = None


@contextmanager
def within(folder: Path) -> Iterator[None]:
    """Temporary files of this process and its children go into `folder`; it is removed before and after, with what a killed one left."""
    global _root  # noqa: PLW0603  child processes and threads of the run share it
    before = _root
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _root = folder.resolve()
    try:
        yield
    finally:
        _root = before
        shutil.rmtree(folder, ignore_errors=True)


def environment() -> dict[str, str]:
    """The environment of a child process, whose temporary files go where those of this process do."""
    return dict(os.environ) if _root is None else {**os.environ, "TMPDIR": str(_root)}


@contextmanager
def temporary() -> Iterator[Path]:
    """A temporary folder for the block. What an edgedistill that was killed left beside it is removed."""
    if _root is None:
        _sweep(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-", dir=_root, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _sweep(folder: Path) -> None:
    for path in folder.glob(f"{_PREFIX}*"):
        owner = _NAME.match(path.name)
        with suppress(OSError):
            if owner and path.lstat().st_uid == os.getuid() and not _alive(int(owner[1])):
                shutil.rmtree(path, ignore_errors=True)


def remove_half_written(folder: Path) -> None:
    """Remove what `files.replacing` left anywhere in `folder` when its process was killed."""
    for path in folder.rglob(".*.tmp*"):
        owner = _HALF_WRITTEN.fullmatch(path.name)
        if owner and path.is_file() and not _alive(int(owner[1])):
            path.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
