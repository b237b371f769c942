"""Image files without what is written about them: EXIF with its places and times, XMP, IPTC, comments, previews. Pixels stay."""

from __future__ import annotations

import io
from typing import Any

from edgedistill.teach.scrub.scrubbing import NotScanned

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
"""Formats whose metadata can be removed. Files of others are not copied."""
_ORIENTATION = 0x0112
_KEPT = {
    "icc_profile", "transparency", "gamma", "srgb", "dpi", "chromaticity", "background", "jfif", "jfif_version", "jfif_unit",
    "jfif_density", "progressive", "progression", "adobe", "adobe_transform", "loop", "timestamp", "duration", "compression", "interlace",
}  # fmt: skip
"""What Pillow tells of a file that says how pixels are shown."""
_SCAN, _END, _APP0, _COMMENT = 0xDA, 0xD9, 0xE0, 0xFE
_PROFILE, _ADOBE = b"ICC_PROFILE\0", b"Adobe"


def without_metadata(data: bytes) -> bytes:
    """The image file `data` without metadata; how it is turned stays known. Raises NotScanned.

    JPEG keeps its compressed pixels, and of EXIF the orientation alone, since turned pixels would have to be compressed again. Other
    formats are turned and written again without loss. The pixels that people see are compared.
    """
    import numpy as np
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(data)) as image:
            form, orientation = image.format, image.getexif().get(_ORIENTATION, 1)
            if getattr(image, "n_frames", 1) != 1 and form != "MPO":
                raise NotScanned("several frames")
            upright = ImageOps.exif_transpose(image)
            pixels = np.asarray(upright)
        clean = _jpeg(data, orientation) if form in ("JPEG", "MPO") else _written_again(upright, str(form))
        with Image.open(io.BytesIO(clean)) as made:
            same = np.array_equal(np.asarray(ImageOps.exif_transpose(made)), pixels)
            left = [*({*made.info} - _KEPT - {"exif"}), *({*made.getexif()} - {_ORIENTATION})]
    except NotScanned:
        raise
    except Exception as error:
        # Pillow's readers of damaged files raise whatever their parsing meets.
        raise NotScanned(type(error).__name__) from None
    if not same or left:
        raise NotScanned("metadata that cannot be removed" if left else "pixels that would change")
    return clean


def _written_again(image: Any, form: str) -> bytes:
    if form not in ("PNG", "WEBP", "BMP"):
        raise NotScanned(f"format {form}")
    profile = {} if form == "BMP" else {"icc_profile": image.info.get("icc_profile")}
    lossless = {"lossless": True, "exact": True} if form == "WEBP" else {}
    image.info = {name: image.info[name] for name in ("transparency",) if name in image.info}
    with io.BytesIO() as file:
        image.save(file, form, **profile, **lossless)
        return file.getvalue()


def _jpeg(data: bytes, orientation: int) -> bytes:
    """The segments of ITU-T T.81 that pixels need: no application's but JFIF, ICC profiles and Adobe's, no comment, nothing behind."""
    out, place = [b"\xff\xd8", *([_turned(orientation)] if orientation != 1 else [])], 2
    while True:
        while data[place + 1] == 0xFF:
            place += 1
        if data[place] != 0xFF:
            raise NotScanned("a damaged JPEG")
        marker = data[place + 1]
        if marker == _END:
            return b"".join([*out, b"\xff\xd9"])
        end = place + 2 + int.from_bytes(data[place + 2 : place + 4])
        content = data[place + 4 : end]
        if _is_needed(marker, content):
            out.append(data[place:end])
        if marker == _SCAN:
            place, end = end, _end_of_scan(data, end)
            out.append(data[place:end])
        place = end


def _is_needed(marker: int, content: bytes) -> bool:
    if _APP0 <= marker <= _APP0 + 15:
        begins = {_APP0: b"JFIF\0", _APP0 + 2: _PROFILE, _APP0 + 14: _ADOBE}
        return marker in begins and content.startswith(begins[marker])
    return marker != _COMMENT


def _end_of_scan(data: bytes, place: int) -> int:
    """Where the next marker stands behind compressed data, in which FF is followed by 00 or by a restart marker."""
    while True:
        place = data.index(b"\xff", place)
        if data[place + 1] not in (0, 0xFF, *range(0xD0, 0xD8)):
            return place
        place += 1 if data[place + 1] == 0xFF else 2


def _turned(orientation: int) -> bytes:
    from PIL import Image

    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    content = exif.tobytes()
    return b"\xff\xe1" + (len(content) + 2).to_bytes(2) + content
