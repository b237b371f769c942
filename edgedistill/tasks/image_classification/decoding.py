"""Reads an image file as people see it: turned upright, 8 bits a channel, on white where it is transparent."""

from __future__ import annotations

from pathlib import Path
from typing import IO, TYPE_CHECKING

from edgedistill.tasks.image_classification.recipe.data import PLAIN, Resize

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = {
    ".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".avif", ".heic", ".heif",
}  # fmt: skip
_HEIF = {".heic", ".heif"}
_LEFT_OVER = {"@eaDir", "__MACOSX"}
_MAX_ASPECT = 50
_INTEGERS16 = ("I;16", "I;16B", "I;16L", "I;16N")


def is_hidden(path: Path) -> bool:
    """Whether a path, within the folder of the data, is what systems leave beside images: `._x.png`, `.DS_Store`, `@eaDir`."""
    return any(part.startswith(".") or part in _LEFT_OVER for part in path.parts)


def read(file: Path | IO[bytes], suffix: str = "") -> Image.Image:
    """The image in a file, RGB. Raises OSError or ValueError, with what is wrong, where it can't be read.

    suffix: of its name, where `file` is no path.
    """
    from PIL import Image

    if (file.suffix if isinstance(file, Path) else suffix).lower() in _HEIF:
        _take_heif()
    try:
        with Image.open(file) as image:
            return as_seen(image)
    except Image.DecompressionBombError as error:
        raise ValueError(f"{error}; make it smaller") from error
    except (OSError, ValueError):
        raise
    except Exception as error:
        # Pillow's readers of damaged files raise whatever their parsing meets: there is no list of it.
        raise ValueError(f"it is damaged ({type(error).__name__}: {error})") from error


def as_seen(image: Image.Image) -> Image.Image:
    """RGB pixels of an opened image. Raises ValueError where its values or its size have no sure meaning.

    EXIF's orientation is applied. 16-bit integers are divided by 257, and floating-point numbers have to be in 0..1. Transparent pixels
    are composed with white.
    """
    from PIL import Image, ImageOps

    width, height = image.size
    if min(width, height) == 0 or max(width, height) > _MAX_ASPECT * min(width, height):
        raise ValueError(f"found {width} x {height} pixels, expected at most {_MAX_ASPECT} times as many along one side")
    # What is turned has no format any more.
    form, image = image.format, ImageOps.exif_transpose(image)
    if image.mode in (*_INTEGERS16, "I", "F"):
        return _from_numbers(image, form).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        whole = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", whole.size, "white"), whole).convert("RGB")
    return image.convert("RGB")


def fitted(image: Image.Image, size: int, resize: Resize = PLAIN) -> Image.Image:
    """The square of `size` pixels that models see of an RGB image, resized and cropped as `resize` says.

    Filters widen as the image shrinks ("with antialiasing"). Each direction rounds to 8 bits. Width is resized first: Pillow from
    version 13 takes the height of some tall images first, whose pixels then differ by 1 of 255.
    """
    from PIL import Image

    kernel = Image.Resampling.BICUBIC if resize.filter == "cubic" else Image.Resampling.BILINEAR
    width, height = _resized(*image.size, size, resize)
    for target in ((width, image.height), (width, height)):
        image = image.resize(target, kernel)
    # Python rounds halves to even.
    left, top = ((side - size) // 2 if resize.odd_margin == "down" else round((side - size) / 2) for side in (width, height))
    return image.crop((left, top, left + size, top + size))


def _resized(width: int, height: int, size: int, resize: Resize) -> tuple[int, int]:
    """Width and height before the crop."""
    side, shorter = resize.side or size, min(width, height)
    return (side, side) if resize.stretch else (side * width // shorter, side * height // shorter)


def _from_numbers(image: Image.Image, form: str | None) -> Image.Image:
    """8-bit greys of an image of larger numbers, from a file of the format `form`."""
    import numpy as np
    from PIL import Image

    values = np.asarray(image)
    if image.mode == "F":
        if not np.isfinite(values).all() or values.min() < 0 or values.max() > 1:
            raise ValueError(f"found numbers from {values.min():g} to {values.max():g}, expected 0..1; convert it to 8 bits")
        return Image.fromarray(np.round(values * 255).astype(np.uint8))
    # Some versions of Pillow give 16-bit files as 32-bit integers.
    if image.mode == "I" and (form not in ("PNG", "PPM") or values.min() < 0 or values.max() > 65535):
        raise ValueError(f"found 32-bit integers from {values.min()} to {values.max()}, whose white is not known; convert it to 8 bits")
    return Image.fromarray(np.round(values.astype(np.float32) / 257).astype(np.uint8))


def _take_heif() -> None:
    try:
        import pillow_heif
    except ImportError as error:
        raise ValueError("HEIC images need a library: pip install pillow-heif") from error
    pillow_heif.register_heif_opener()
