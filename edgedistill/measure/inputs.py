"""The images that a run gives to a file, in the form that the file takes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgedistill.recipe.inputs import DEFAULT, takes_bytes


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


def kind_of(port: dict[str, Any], size: int) -> str | None:
    """The input that `port` of an inspected file is for RGB images of `size` pixels, as far as it says; None where it is another.

    A dimension that is a name or not given fits any size.
    """
    dtype, found = port["type"], port["shape"]
    for kind, name, shape in (
        (DEFAULT, "float32", (1, 3, size, size)),
        ("uint8-nhwc", "uint8", (1, size, size, 3)),
        ("image", "image RGB", (size, size)),
    ):
        typed = dtype == name or (kind == DEFAULT and not isinstance(dtype, str))
        if typed and (not isinstance(found, list) or fits(found, shape)):
            return kind
    return None


def fits(found: list[Any], shape: tuple[int, ...]) -> bool:
    """Whether a file that says that a shape is `found` may have `shape`."""
    return len(found) == len(shape) and all(not isinstance(a, int) or a == b for a, b in zip(found, shape, strict=True))
