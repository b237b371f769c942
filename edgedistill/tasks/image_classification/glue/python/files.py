"""Frames of image files, by Pillow: upright, on white where they are transparent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .errors import InputError
from .frames import Frame

_INTEGERS16 = ("I;16", "I;16B", "I;16L", "I;16N")
_MOST = 65535


def frame_of(image: Any) -> Frame:
    """The frame of an image of Pillow, or of the file at a path. Raises InputError where it can't be read."""
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise InputError("Pillow reads image files: install it with `pip install pillow`, or give an array or a Frame") from error

    if isinstance(image, str | Path):
        try:
            with Image.open(image) as opened:
                opened.load()
                image = opened
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise InputError(f"{image} can't be read ({error}), expected an image file") from error
    if not isinstance(image, Image.Image):
        raise InputError(f"found {type(image).__name__}, expected a Frame, an array, a path, or an image of Pillow")
    image = ImageOps.exif_transpose(image)
    if image.mode in (*_INTEGERS16, "I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > _MOST:
            raise InputError(f"found numbers from {values.min()} to {values.max()}, expected 0 to {_MOST}; convert the image to 8 bits")
        return Frame.of(values.astype(np.uint16))
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        return Frame.of(np.asarray(image.convert("RGBA")))
    return Frame.of(np.asarray(image.convert("RGB")))
