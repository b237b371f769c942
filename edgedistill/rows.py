"""Arrays in files that are written and read a few rows at a time, so that memory does not grow with the file.

Reads are plain reads and no memory map: the pages of a map count as memory of the process, and a disk that is full or a file that was cut
off ends a process that maps it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedistill.files import read_array, replacing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import DTypeLike


class Rows:
    """The array [N, ...] of a .npy file. An index reads what it names, into memory of its own; several threads and processes may read.

    Raises ValueError for what is no such file, or one that was cut off.
    """

    def __init__(self, path: Path) -> None:
        from numpy.lib import format as npy

        self.path = path
        with open(path, "rb") as file:
            header = npy.read_array_header_1_0 if npy.read_magic(file) == (1, 0) else npy.read_array_header_2_0
            self.shape, fortran, self.dtype = header(file)
            self._start = file.tell()
            if fortran and len(self.shape) > 1:
                raise ValueError(f"{path} is in Fortran's order, expected C's")
            if not self.shape or self.dtype.hasobject:
                raise ValueError(f"{path} is no array of numbers with rows")
            if os.fstat(file.fileno()).st_size < self._start + self.nbytes:
                raise ValueError(f"{path} was cut off: found {os.path.getsize(path)} bytes, expected {self._start + self.nbytes}")
            # The file stays the one that was opened, also where another one takes its name.
            self._file = os.dup(file.fileno())

    @classmethod
    def raw(cls, path: Path, row: np.dtype, count: int) -> Rows:
        """`count` rows of the type `row` of a file without a header."""
        rows = cls.__new__(cls)
        rows.path, rows.shape, rows.dtype, rows._start = path, (count, *row.shape), row.base, 0
        rows._file = os.open(path, os.O_RDONLY)
        return rows

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            os.close(self._file)

    def __len__(self) -> int:
        return int(self.shape[0])

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        size = self.dtype.itemsize
        for count in self.shape[1:]:
            size *= count
        return size

    @property
    def nbytes(self) -> int:
        """Bytes of all rows."""
        return len(self) * self.row_bytes

    def __getitem__(self, key: Any) -> np.ndarray:
        """Rows by number, slice, array of numbers [B], or bool [N]; a tuple goes on with what the rows hold."""
        import numpy as np

        if isinstance(key, tuple):
            rows = self[key[0]]
            return rows[key[1:]] if isinstance(key[0], (int, np.integer)) else rows[(slice(None), *key[1:])]
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            if step != 1:
                return self[np.arange(start, stop, step)]
            return self._read(start, max(0, stop - start))
        chosen = np.asarray(key)
        if chosen.dtype == bool:
            chosen = np.flatnonzero(chosen)
        if chosen.size and not (-len(self) <= chosen.min() and chosen.max() < len(self)):
            raise IndexError(f"found a row outside of the {len(self)} of {self.path}")
        chosen = np.where(chosen < 0, chosen + len(self), chosen)
        if chosen.ndim == 0:
            return self._read(int(chosen), 1)[0]
        out = np.empty((len(chosen), *self.shape[1:]), self.dtype)
        size, view = self.row_bytes, bytes_of(out)
        for place, row in enumerate(chosen.tolist()):
            self._into(view[place * size : (place + 1) * size], row)
        return out

    def _read(self, start: int, count: int) -> np.ndarray:
        import numpy as np

        out = np.empty((count, *self.shape[1:]), self.dtype)
        self._into(bytes_of(out), start)
        return out

    def _into(self, buffer: memoryview, row: int) -> None:
        place = self._start + row * self.row_bytes
        while len(buffer):
            count = os.preadv(self._file, [buffer], place)
            if count == 0:
                raise ValueError(f"{self.path} was cut off at byte {place}")
            buffer, place = buffer[count:], place + count


def bytes_of(array: np.ndarray) -> memoryview:
    """The memory of a contiguous array."""
    return array.reshape(-1).view("u1").data


@contextmanager
def writing(path: Path, dtype: DTypeLike, shape: Sequence[int]) -> Iterator[Callable[[np.ndarray], None]]:
    """Write a .npy file [N, ...] of `shape` atomically: the function that is given appends rows, until there are N."""
    import numpy as np
    from numpy.lib import format as npy

    row = np.dtype((dtype, tuple(shape[1:])))
    done = 0
    with replacing(path) as temporary, open(temporary, "wb") as file:

        def append(rows: np.ndarray) -> None:
            nonlocal done
            values = np.ascontiguousarray(rows, row.base)
            if values.shape[1:] != row.shape:
                raise ValueError(f"found rows of {list(values.shape[1:])} for {path}, expected {list(row.shape)}")
            file.write(bytes_of(values))
            done += len(values)

        npy.write_array_header_1_0(file, {"descr": npy.dtype_to_descr(row.base), "fortran_order": False, "shape": tuple(shape)})
        yield append
        if done != shape[0]:
            raise ValueError(f"found {done} rows for {path}, expected {shape[0]}")
        file.flush()


def read_rows(folder: Path) -> Mapping[str, np.ndarray]:
    """The arrays that `files.write_arrays` wrote into `folder`, by name; each is a `Rows`, or an array where it has no rows to read.

    Raises DamagedFile where one is no array.
    """
    arrays: dict[str, Any] = {}
    for path in sorted(folder.glob("*.npy")):
        try:
            arrays[path.stem] = Rows(path)
        except ValueError:
            arrays[path.stem] = read_array(path)
    return arrays
