"""Makes the input of a file of a recorded image, as the code of apps does."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import JsonValue

from edgedistill.tasks.image_classification.decoding import fitted, read
from edgedistill.tasks.image_classification.recipe.data import Resize
from edgedistill.tasks.model_file import ModelFile
from edgedistill.tasks.pixels import as_taken
from edgedistill.tasks.shadowed import NotComparable

if TYPE_CHECKING:
    from PIL import Image

_LONGEST = 16 << 20
"""Characters of an image in a line of traces."""
_SHOWN = 768
"""Pixels of the longer side of an image that people see."""


def image_of(row: Mapping[str, Any], folder: Path) -> JsonValue:
    """The request of a line of traces: `image`, a path from `folder`, or `image_base64`, a file. Raises ValueError where it has neither."""
    path, data = row.get("image"), row.get("image_base64")
    if isinstance(path, str):
        if not (folder / path).is_file():
            raise ValueError(f"image: found no file {folder / path}")
        return {"image": str((folder / path).absolute())}
    if not isinstance(data, str):
        raise ValueError(f"found {', '.join(map(str, row)) or 'nothing'}, expected image, a path, or image_base64, the bytes of a file")
    if len(data) > _LONGEST:
        raise ValueError(
            f"image_base64: found {len(data):,} characters, expected {_LONGEST:,} at most; write it as a file, and name it by image"
        )
    return {"image_base64": data}


def opened(request: Mapping[str, str]) -> Image.Image:
    """The image of a request as people see it, RGB. Raises OSError or ValueError where it can't be read."""
    if "image" in request:
        return read(Path(request["image"]))
    try:
        return read(io.BytesIO(base64.b64decode(request["image_base64"], validate=True)))
    except binascii.Error as error:
        raise ValueError(f"it is no base64 ({error})") from error


class ImageInputs:
    """What `file` takes of the image of a request, by the name of its input."""

    def __init__(self, file: ModelFile) -> None:
        self._name, facts = file.given("image")
        self._kind = file.input
        self._size, self._resize = resize_of(facts)

    def __call__(self, request: Mapping[str, str]) -> dict[str, np.ndarray]:
        """The input. Raises NotComparable for an image that can't be read."""
        try:
            pixels = np.asarray(fitted(opened(request), self._size, self._resize))
        except (OSError, ValueError) as error:
            raise NotComparable("the image can't be read") from error
        image = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None]).astype(np.float32) / np.float32(255)
        return {self._name: as_taken(image, self._kind)}


def resize_of(facts: Mapping[str, Any]) -> tuple[int, Resize]:
    """The side of the square that a model sees, and how it is made, of what `preprocessing` says of its input."""
    resize, crop = facts["resize"], facts["crop"]
    side = resize.get("shorter_side", resize.get("width"))
    margin: Any = "even" if crop["place"] == "center" else "down"
    return crop["width"], Resize(side=side, stretch="width" in resize, filter=resize["filter"], odd_margin=margin)


def png(request: Mapping[str, str]) -> bytes:
    """The image of a request for people. Raises OSError or ValueError where it can't be read."""
    image, file = opened(request), io.BytesIO()
    image.thumbnail((_SHOWN, _SHOWN))
    image.save(file, "png")
    return file.getvalue()
