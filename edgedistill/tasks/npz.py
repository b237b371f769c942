"""Reads .npz files of users, which may be cut off, damaged or made to fill the memory."""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

_PACKED = 200
"""Times that compression may make an array smaller; arrays of images are packed 2 to 50 times."""
_SMALL = 64 << 20
_DAMAGED = (
    OSError, ValueError, EOFError, KeyError, RuntimeError, MemoryError, SyntaxError, TypeError, OverflowError, struct.error, zlib.error,
    lzma.LZMAError, zipfile.BadZipFile,
)  # fmt: skip
"""What zipfile and NumPy raise on a damaged file; an unknown compression is a RuntimeError, a NotImplementedError."""


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an .npz by name. Raises ValueError, which says what is wrong, when it is no whole .npz of numbers and text."""
    import numpy as np

    arrays = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if member.file_size > max(_SMALL, _PACKED * member.compress_size):
                    found = f"{member.file_size:,} bytes packed into {member.compress_size:,}"
                    raise ValueError(f"{member.filename} is {found}, expected at most {_PACKED} times as many")
                with archive.open(member) as handle:
                    _check_size(handle, member)
                with archive.open(member) as handle:
                    arrays[member.filename.removesuffix(".npy")] = np.lib.format.read_array(handle, allow_pickle=False)
    except _DAMAGED as error:
        raise ValueError(" ".join(str(error).split())[:300] or type(error).__name__) from error
    return arrays


def _check_size(handle: IO[bytes], member: zipfile.ZipInfo) -> None:
    """Raise ValueError where the header of an array announces more than its member holds: NumPy takes the memory before it reads."""
    import numpy as np

    version = np.lib.format.read_magic(handle)
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = reader(handle)
    if dtype.hasobject:
        raise ValueError(f"{member.filename} holds objects, expected numbers or text")
    size = dtype.itemsize
    for side in shape:
        size *= side
    if size > member.file_size or any(side < 0 for side in shape):
        raise ValueError(f"{member.filename} announces {size:,} bytes, found {member.file_size:,}")
