"""The samples that a run gives to a file, in the form that the file takes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgedistill.recipe.inputs import takes_bytes
from edgedistill.signature import MethodSignature


@contextmanager
def taken(samples: Path, method: MethodSignature, kind: str, *, first: int | None = None) -> Iterator[dict[str, Path]]:
    """A .npy [N, ...] for each input of `method`, by name, as a file with the input `kind` takes it; see `pixels.as_taken`.

    samples: folder with NAME.npy [N, ...] for each input, as programs take them. method: that of the file. first: only so many of them.
    """
    import numpy as np

    from edgedistill.tasks.pixels import as_taken

    with tempfile.TemporaryDirectory(prefix="edgedistill-") as folder:
        files = {}
        for spec in method.inputs:
            source = samples / f"{spec.name}.npy"
            array = np.load(source, mmap_mode="r")
            if first is None and array.dtype == spec.dtype and not takes_bytes(kind):
                files[spec.name] = source
                continue
            array = as_taken(array[:first], kind) if takes_bytes(kind) else array[:first]
            files[spec.name] = Path(folder, source.name)
            np.save(files[spec.name], array.astype(spec.dtype, copy=False))
        yield files
