"""The samples that a run gives to a file, in the form that the file takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgedistill import scratch
from edgedistill.recipe.inputs import takes_bytes
from edgedistill.signature import MethodSignature

_ROWS = 64


@contextmanager
def taken(samples: Path, method: MethodSignature, kind: str, *, first: int | None = None) -> Iterator[dict[str, Path]]:
    """A .npy [N, ...] for each input of `method`, by name, as a file with the input `kind` takes it; see `pixels.as_taken`.

    samples: folder with NAME.npy [N, ...] for each input, as programs take them. method: that of the file. first: only so many of them.
    """
    from edgedistill.rows import Rows, writing
    from edgedistill.tasks.pixels import as_taken

    with scratch.temporary() as folder:
        files = {}
        for spec in method.inputs:
            source = samples / f"{spec.name}.npy"
            rows = Rows(source)
            if first is None and rows.dtype == spec.dtype and not takes_bytes(kind):
                files[spec.name] = source
                continue
            count = len(rows) if first is None else min(first, len(rows))
            shape = as_taken(rows[:1], kind).shape[1:]
            files[spec.name] = folder / source.name
            # A part at a time: val may be larger than the memory.
            with writing(files[spec.name], spec.dtype, (count, *shape)) as write:
                for start in range(0, count, _ROWS):
                    write(as_taken(rows[start : min(start + _ROWS, count)], kind))
        yield files
