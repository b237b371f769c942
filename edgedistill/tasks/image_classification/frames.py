"""Golden frames: pixels as cameras and decoders give them, and what the model sees of each. Glue code is held to them."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

import numpy as np
from pydantic import JsonValue

from edgedistill.tasks.image_classification.decoding import as_seen, fitted
from edgedistill.tasks.image_classification.recipe.data import PLAIN, Resize
from edgedistill.tasks.image_classification.yuv import to_rgb

_ORIENTATION = 0x0112
_GOLDEN = (
    ("rgb8", 61, 43, 1), ("bgra8", 40, 72, 6), ("rgba8", 33, 50, 3), ("grey8", 29, 64, 8), ("grey16", 57, 38, 5), ("yuv420", 75, 53, 6),
)  # fmt: skip


@dataclass(frozen=True)
class GoldenFrame:
    """A frame: its facts as manifests hold them, the bytes of all planes, and the pixels that the model sees, uint8 [S, S, 3]."""

    facts: dict[str, JsonValue]
    data: bytes
    expected: np.ndarray


def golden_frames(size: int, resize: Resize = PLAIN) -> tuple[list[JsonValue], dict[str, bytes]]:
    """Frames of every kind for a model that sees `size` x `size` pixels: their entries in a manifest, and their files by path."""
    rng = np.random.default_rng(0)
    entries: list[JsonValue] = []
    files: dict[str, bytes] = {}
    for number, (kind, width, height, orientation) in enumerate(_GOLDEN):
        frame = made(kind, width, height, orientation, size, rng, resize=resize)
        paths = {"file": f"golden/frames/{number}.bin", "expected": f"golden/frames/{number}-expected.bin"}
        entries.append({**paths, **frame.facts})
        files |= {paths["file"]: frame.data, paths["expected"]: frame.expected.tobytes()}
    return entries, files


def made(
    kind: str, width: int, height: int, orientation: int, size: int, rng: np.random.Generator, matrix: str = "bt601", range_: str = "full",
    resize: Resize = PLAIN,
) -> GoldenFrame:  # fmt: skip
    """A random frame of a kind, of `width` x `height` pixels as they lie in memory, whose rows may have bytes behind them.

    What the model sees of it is computed by Pillow, as in training; colours of a camera by `yuv.to_rgb`.
    """
    if kind == "yuv420":
        facts, data, rgb = _from_camera(width, height, orientation, rng, matrix, range_)
        return GoldenFrame(facts, data, _seen(rgb, orientation, size, resize))
    channels = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "grey8": 1, "grey16": 1}[kind]
    pixels = _smooth(rng, width, height, channels, np.uint16 if kind == "grey16" else np.uint8)
    shown = pixels[..., [2, 1, 0, 3][:channels]] if kind.startswith("bgr") else pixels
    data, plane = _laid_out([pixels.astype("<u2") if kind == "grey16" else pixels], [int(rng.integers(0, 9))])
    facts = _facts(kind, width, height, orientation, plane, "bt601", "full")
    return GoldenFrame(facts, data, _seen(shown[..., 0] if channels == 1 else shown, orientation, size, resize))


def _from_camera(
    width: int, height: int, orientation: int, rng: np.random.Generator, matrix: str, range_: str
) -> tuple[dict[str, JsonValue], bytes, np.ndarray]:
    """The facts of a frame of a camera, its bytes, and its pixels as RGB."""
    half = (width + 1) // 2, (height + 1) // 2
    luma, u, v = (_smooth(rng, *sides, 1, np.uint8) for sides in ((width, height), half, half))
    layout = rng.choice(["planar", "nv12", "nv21"])
    pads = [int(rng.integers(0, 9)) for _ in range(3)]
    if layout == "planar":
        data, planes = _laid_out([luma, u, v], pads)
    else:
        pair = [u, v] if layout == "nv12" else [v, u]
        data, (first, second) = _laid_out([luma, np.concatenate(pair, axis=2)], pads[:2])
        places = [{**second, "offset": second["offset"] + step} for step in (0, 1)]
        planes = [first, *(places if layout == "nv12" else places[::-1])]
        for plane in planes[1:]:
            plane["pixel_stride"] = 2
    rgb = to_rgb(luma[..., 0], u[..., 0], v[..., 0], matrix, range_)
    return _facts("yuv420", width, height, orientation, planes, matrix, range_), data, rgb


def _facts(
    kind: str, width: int, height: int, orientation: int, planes: list[dict[str, int]], matrix: str, range_: str
) -> dict[str, JsonValue]:
    laid: list[JsonValue] = [dict(plane) for plane in planes]
    sizes: dict[str, JsonValue] = {"format": kind, "width": width, "height": height, "orientation": orientation}
    return sizes | {"matrix": matrix, "range": range_, "planes": laid}


def _smooth(rng: np.random.Generator, width: int, height: int, channels: int, dtype: type) -> np.ndarray:
    """Random pixels [height, width, channels] with edges and flat parts, as photos have."""
    top = np.iinfo(dtype).max
    coarse = rng.integers(0, top + 1, (height // 5 + 1, width // 5 + 1, channels))
    noise = rng.integers(-top // 8, top // 8 + 1, (height, width, channels))
    return (np.repeat(np.repeat(coarse, 5, 0), 5, 1)[:height, :width] + noise).clip(0, top).astype(dtype)


def _laid_out(planes: list[np.ndarray], pads: list[int]) -> tuple[bytes, list[dict[str, int]]]:
    """Planes [H, W, C] one after the other, with so many bytes behind each row but the last; and where each is."""
    data, places = bytearray(), []
    for plane, pad in zip(planes, pads, strict=True):
        step = plane.shape[2] * plane.itemsize
        places.append({"offset": len(data), "row_stride": plane.shape[1] * step + pad, "pixel_stride": step})
        rows = [row.tobytes() for row in plane]
        data += bytes([171] * pad).join(rows)
    return bytes(data), places


def _seen(pixels: np.ndarray, orientation: int, size: int, resize: Resize) -> np.ndarray:
    """What the model sees of an image file with these pixels and this orientation, uint8 [S, S, 3]."""
    from PIL import Image

    image, file = Image.fromarray(pixels), BytesIO()
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    image.save(file, "png", exif=exif)
    with Image.open(file) as opened:
        return np.asarray(fitted(as_seen(opened), size, resize))
