"""Prepares pixels as in training: upright, RGB, resized, cropped. All arithmetic is in integers, so every language gives the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .errors import InputError

_PIXEL_BYTES = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "grey8": 1, "grey16": 2}
_COLORS = {
    # 65536 times what Y, and V, U, V and U minus 128, add to R, G, G and B: ITU-R BT.601 and BT.709, each in full and video range.
    ("bt601", "full"): (65536, 91881, 22553, 46802, 116130),
    ("bt601", "video"): (76309, 104597, 25675, 53279, 132201),
    ("bt709", "full"): (65536, 103206, 12276, 30679, 121609),
    ("bt709", "video"): (76309, 117489, 13975, 34925, 138438),
}
_BITS = 22
_MAX_ASPECT = 50
_ORIENTATIONS = 8


@dataclass(frozen=True)
class Plane:
    """Where the numbers of a plane are: the offset of the first one, and the bytes from one row and one number to the next."""

    offset: int
    row_stride: int
    pixel_stride: int


@dataclass(frozen=True)
class Frame:
    """Pixels in memory.

    Attributes:
        format: rgb8, bgr8, rgba8, bgra8, grey8, grey16 (little endian) or yuv420 (planes Y, U, V; also NV12, NV21 and YUV_420_888).
        width, height: Of the pixels as they lie in memory.
        data: All planes.
        planes: Where each plane is in `data`.
        orientation: EXIF's number, 1 to 8, of what shows the pixels upright.
        matrix, range: Of yuv420: bt601 or bt709, full or video.
    """

    format: str
    width: int
    height: int
    data: bytes | np.ndarray
    planes: Sequence[Plane]
    orientation: int = 1
    matrix: str = "bt601"
    range: str = "full"

    @classmethod
    def of(cls, pixels: np.ndarray, *, orientation: int = 1) -> Frame:
        """A frame of uint8 [H, W], [H, W, 3] RGB or [H, W, 4] RGBA, or uint16 [H, W]."""
        channels = 1 if pixels.ndim == 2 else pixels.shape[-1] if pixels.ndim == 3 else 0
        known = {(1, "uint8"): "grey8", (1, "uint16"): "grey16", (3, "uint8"): "rgb8", (4, "uint8"): "rgba8"}
        name = known.get((channels, str(pixels.dtype)))
        if name is None:
            found = f"{pixels.dtype}{list(pixels.shape)}"
            raise InputError(f"found an array {found}, expected uint8 [H, W], [H, W, 3] RGB or [H, W, 4] RGBA, or uint16 [H, W]")
        step, (height, width) = _PIXEL_BYTES[name], pixels.shape[:2]
        little = np.ascontiguousarray(pixels.astype("<u2", copy=False) if name == "grey16" else pixels)
        return cls(name, width, height, little.view(np.uint8).ravel(), [Plane(0, step * width, step)], orientation)


@dataclass(frozen=True)
class Resize:
    """How pixels become the square that the model sees.

    Attributes:
        side: What the shorter side is resized to before the crop; None for the side of the square.
        stretch: Whether both sides are resized to it.
        cubic: Whether the filter is the cubic one, and not the triangle.
        down: Whether half of an odd margin is rounded down, and not to the even number.
    """

    side: int | None = None
    stretch: bool = False
    cubic: bool = False
    down: bool = False


def prepared(frame: Frame, size: int, resize: Resize = Resize()) -> np.ndarray:
    """The square that the model sees, uint8 [size, size, 3] RGB. Raises InputError for a frame that can't be one."""
    _check(frame)
    return cropped(upright(_rgb(frame), frame.orientation), size, resize)


def _check(frame: Frame) -> None:
    width, height = frame.width, frame.height
    if min(width, height) < 1 or max(width, height) > _MAX_ASPECT * min(width, height):
        expected = f"at least 1 x 1, and one side at most {_MAX_ASPECT} times the other"
        raise InputError(f"found a frame of {width} x {height}, expected {expected}")
    if frame.orientation not in range(1, _ORIENTATIONS + 1):
        raise InputError(f"found the orientation {frame.orientation}, expected 1 to {_ORIENTATIONS}, as EXIF counts")
    if frame.format != "yuv420" and frame.format not in _PIXEL_BYTES:
        raise InputError(f"found the format {frame.format}, expected {', '.join(_PIXEL_BYTES)} or yuv420")
    if frame.format == "yuv420" and (frame.matrix, frame.range) not in _COLORS:
        raise InputError(f"found {frame.matrix}, {frame.range}, expected bt601 or bt709, full or video")
    count = 3 if frame.format == "yuv420" else 1
    if len(frame.planes) != count:
        raise InputError(f"found {len(frame.planes)} plane(s) of {frame.format}, expected {count}")
    length = len(frame.data)
    for number, plane in enumerate(frame.planes):
        step = _PIXEL_BYTES.get(frame.format, 1)
        w, h = ((width + 1) // 2, (height + 1) // 2) if number else (width, height)
        if plane.pixel_stride < step or plane.row_stride < (w - 1) * plane.pixel_stride + step:
            found = f"strides of {plane.row_stride} and {plane.pixel_stride} bytes"
            raise InputError(f"found {found} in plane {number}, expected at least {(w - 1) * step + step} and {step}")
        last = plane.offset + (h - 1) * plane.row_stride + (w - 1) * plane.pixel_stride + step
        if plane.offset < 0 or last > length:
            raise InputError(f"found {length} bytes, expected {last} for plane {number} of {frame.width} x {frame.height} {frame.format}")


def _rgb(frame: Frame) -> np.ndarray:
    """The pixels as uint8 [H, W, 3]."""
    if frame.format == "yuv420":
        return _from_yuv(frame)
    values = _plane(frame, frame.planes[0], frame.width, frame.height, _PIXEL_BYTES[frame.format])
    if frame.format == "grey8":
        return np.repeat(values, 3, axis=2)
    if frame.format == "grey16":
        wide = values[..., :1].astype(np.uint32) + 256 * values[..., 1:].astype(np.uint32)
        return np.repeat(((wide + 128) // 257).astype(np.uint8), 3, axis=2)
    colors = values[..., 2::-1] if frame.format.startswith("bgr") else values[..., :3]
    return _on_white(colors, values[..., 3:]) if frame.format.endswith("a8") else colors


def _plane(frame: Frame, plane: Plane, width: int, height: int, step: int) -> np.ndarray:
    """A view of a plane, uint8 [height, width, step]."""
    data = np.frombuffer(frame.data, np.uint8) if not isinstance(frame.data, np.ndarray) else frame.data
    strides = (plane.row_stride, plane.pixel_stride, 1)
    return np.lib.stride_tricks.as_strided(data[plane.offset :], (height, width, step), strides, writeable=False)


def _on_white(colors: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """`colors` over white, rounded as Pillow does."""
    share = alpha.astype(np.int32) * 128
    total = colors * share + 255 * (32640 - share) + (128 << 7)
    mixed = (((total >> 8) + total) >> 8) >> 7
    return np.where(alpha == 0, 255, mixed).astype(np.uint8)


def _from_yuv(frame: Frame) -> np.ndarray:
    half = (frame.width + 1) // 2, (frame.height + 1) // 2
    luma, *chroma = (
        _plane(frame, plane, *(half if number else (frame.width, frame.height)), 1)[..., 0].astype(np.int32)
        for number, plane in enumerate(frame.planes)
    )
    # Each pair of chroma numbers belongs to four pixels.
    u, v = (np.repeat(np.repeat(c - 128, 2, 0), 2, 1)[: frame.height, : frame.width] for c in chroma)
    scale, red_v, green_u, green_v, blue_u = _COLORS[frame.matrix, frame.range]
    y = (luma - (16 if frame.range == "video" else 0)) * scale + 32768
    rgb = np.stack([y + red_v * v, y - green_u * u - green_v * v, y + blue_u * u], axis=-1) >> 16
    return rgb.clip(0, 255).astype(np.uint8)


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels [H, W, 3] as EXIF's orientation says."""
    turned = pixels.swapaxes(0, 1) if orientation >= 5 else pixels
    rows = slice(None, None, -1 if orientation in (3, 4, 7, 8) else 1)
    columns = slice(None, None, -1 if orientation in (2, 3, 6, 7) else 1)
    return turned[rows, columns]


def cropped(pixels: np.ndarray, size: int, resize: Resize) -> np.ndarray:
    """The centre of pixels [H, W, 3] that are resized. Only what the crop keeps is computed."""
    height, width = pixels.shape[:2]
    side, shorter = resize.side or size, min(height, width)
    new_height, new_width = (side, side) if resize.stretch else (side * height // shorter, side * width // shorter)
    # Python rounds halves to even.
    top, left = ((new - size) // 2 if resize.down else round((new - size) / 2) for new in (new_height, new_width))
    columns, rows = _taps(width, new_width, left, size, resize.cubic), _taps(height, new_height, top, size, resize.cubic)
    first, last = rows[0][0], rows[-1][0] + len(rows[-1][1])
    narrow = _resampled(pixels[first:last].swapaxes(0, 1), columns).swapaxes(0, 1)
    return np.ascontiguousarray(_resampled(narrow, [(low - first, weights) for low, weights in rows]))


_Taps = list[tuple[int, np.ndarray]]
"""For each place that is kept: the first number that it takes, and the weights of that and the next ones, of 22 bits."""


def _taps(old: int, new: int, first: int, count: int, cubic: bool) -> _Taps:
    """What places `first` to `first + count` take, where `old` numbers are resized to `new`.

    As Pillow does it with Resampling.BILINEAR or BICUBIC: the filter widens as the image shrinks.
    """
    if old == new:
        return [(place, np.array([float(1 << _BITS)])) for place in range(first, first + count)]
    scale = old / new
    widened = max(scale, 1.0)
    support = (2.0 if cubic else 1.0) * widened
    taps = []
    for place in range(first, first + count):
        center = (place + 0.5) * scale
        low, high = max(0, int(center - support + 0.5)), min(old, int(center + support + 0.5))
        distances = np.abs((np.arange(low, high) - center + 0.5) * (1.0 / widened))
        weights = _cubic(distances) if cubic else np.maximum(0.0, 1.0 - distances)
        whole = weights / sum(weights.tolist()) * (1 << _BITS)
        taps.append((low, np.trunc(whole + np.copysign(0.5, whole))))
    return taps


def _cubic(x: np.ndarray) -> np.ndarray:
    """Keys' kernel with a = -0.5, at distances of 0 or more."""
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


def _resampled(rows: np.ndarray, taps: _Taps) -> np.ndarray:
    """Rows [N, M, 3] weighted by `taps`, rounded to 8 bits.

    All numbers are whole ones of at most 31 bits, which float64 holds exactly, and BLAS multiplies floats only.
    """
    result = np.empty((len(taps), *rows.shape[1:]), np.uint8)
    for place, (low, weights) in enumerate(taps):
        part = np.ascontiguousarray(rows[low : low + len(weights)], np.float64).reshape(len(weights), -1)
        total = np.floor((weights @ part + (1 << (_BITS - 1))) / (1 << _BITS))
        result[place] = total.clip(0, 255).reshape(rows.shape[1:])
    return result
