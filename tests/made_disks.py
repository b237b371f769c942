"""Disks that are full or read-only, as the tests of faults need them."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def mounted(folder: Path, *options: object) -> Iterator[Path]:
    """`folder` with something mounted on it; the test is skipped where that is not allowed."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(["mount", *map(str, options), str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mount is not allowed here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


class Disk:
    """A small disk in memory, which can be filled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, leave: int) -> None:
        """Take all room but `leave` bytes."""
        self.empty()
        free = shutil.disk_usage(self.folder).free
        with open(self.folder / "filler", "wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, free - leave))

    def empty(self) -> None:
        """Give the room back that `fill` took."""
        (self.folder / "filler").unlink(missing_ok=True)


def left_behind(folder: Path) -> list[Path]:
    """Temporary files and folders below `folder`."""
    found = [path for path in folder.rglob("*") if path.name.startswith(".") and path.name not in (".cache", ".ledger")]
    return found + [path for path in folder.rglob("tmp") if path.is_dir()]
