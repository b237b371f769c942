"""The samples that a run gives to a file, in the form that the file takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from edgedistill import scratch
from edgedistill.recipe.inputs import takes_bytes
from edgedistill.signature import MethodSignature, TensorSpec

if TYPE_CHECKING:
    import numpy as np

_ROWS = 64


@contextmanager
def taken(
    samples: Path, method: MethodSignature, kind: str, *, first: int | None = None, places: np.ndarray | None = None
) -> Iterator[dict[str, Path]]:
    """A .npy [N, ...] for each input of `method`, by name, as a file with the input `kind` takes it; see `pixels.as_taken`.

    samples: folder with NAME.npy [N, ...] for each input, as programs take them. method: that of the file. first: only so many of them.
    places: only those, int [n], cut to the sizes that `method` has.
    """
    import numpy as np

    from edgedistill.rows import Rows, writing
    from edgedistill.tasks.pixels import as_taken

    with scratch.temporary() as folder:
        files = {}
        for spec in method.inputs:
            source = samples / f"{spec.name}.npy"
            rows = Rows(source)
            if first is None and places is None and rows.dtype == spec.dtype and not takes_bytes(kind):
                files[spec.name] = source
                continue
            chosen = np.arange(len(rows)) if places is None else places
            chosen = chosen[:first]
            shape = cut(as_taken(rows[:1], kind), spec).shape[1:]
            files[spec.name] = folder / source.name
            # A part at a time: val may be larger than the memory.
            with writing(files[spec.name], spec.dtype, (len(chosen), *shape)) as write:
                for start in range(0, len(chosen), _ROWS):
                    write(cut(as_taken(rows[chosen[start : start + _ROWS]], kind), spec))
        yield files


def cut(values: np.ndarray, spec: TensorSpec) -> np.ndarray:
    """`values` [N, ...] of an input, cut to the sizes of `spec`; a dimension that varies stays whole."""
    sizes = spec.shape[1:] if spec.batched else spec.shape
    return values[(slice(None), *(slice(size if isinstance(size, int) else None) for size in sizes))]
