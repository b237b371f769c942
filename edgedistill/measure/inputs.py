"""The images that a run gives to a file, in the form that the file takes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgedistill.recipe.inputs import takes_bytes


@contextmanager
def taken(images: Path, kind: str) -> Iterator[Path]:
    """A file with the images of `images` (.npy, float32 [N, 3, S, S] in 0..1) as one with the input `kind` takes them; see `as_taken`."""
    if not takes_bytes(kind):
        yield images
        return
    import numpy as np

    from edgedistill.tasks.pixels import as_taken

    with tempfile.TemporaryDirectory(prefix="edgedistill-") as folder:
        path = Path(folder, "images.npy")
        np.save(path, as_taken(np.load(images, mmap_mode="r"), kind))
        yield path
