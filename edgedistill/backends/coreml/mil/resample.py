"""MIL's sampling of images at given points: `resample`, and `affine`, whose points are an affine map of the output's.

https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html#coremltools.converters.mil.mil.ops.defs.iOS15.image_resizing.resample
"""

from typing import Any

import torch

from edgedistill.backends.coreml.mil.values import Operator, Tensor
from edgedistill.measure.runner.refusal import NotExecutable

_TIE = 1e-4
"""How near to the middle of two pixels the nearest one depends on rounding, in pixels: coordinates are float32 at most."""


def _points(coordinates: Tensor, size: int, mode: str, align_corners: bool) -> Tensor:
    """Coordinates along an axis in pixels: 0 is the centre of the first of `size` pixels."""
    if mode == "unnormalized":
        return coordinates
    share = (coordinates + 1) / 2 if mode == "normalized_minus_one_to_one" else coordinates
    # The extremes are the centres of the outer pixels, or their outer edges.
    return share * (size - 1) if align_corners else share * size - 0.5


def _within(places: Tensor, size: int, padding_mode: str) -> Tensor:
    """The pixel of the image that stands at `places` of the padded image, along one axis."""
    if padding_mode == "symmetric":
        turned = places.remainder(2 * size)
        return torch.minimum(turned, 2 * size - 1 - turned)
    if padding_mode == "reflection" and size > 1:
        turned = places.remainder(2 * (size - 1))
        return torch.minimum(turned, 2 * (size - 1) - turned)
    return places.clamp(0, size - 1)


def _pixels(x: Tensor, rows: Tensor, columns: Tensor, padding_mode: str, padding_value: float) -> Tensor:
    """Pixels [B, C, H2, W2] of the padded images `x` [B, C, H1, W1] at `rows` and `columns` [B, H2, W2]."""
    height, width = x.shape[-2:]
    images = torch.arange(len(x)).reshape(-1, 1, 1)
    pixels = x[images, :, _within(rows, height, padding_mode), _within(columns, width, padding_mode)].movedim(-1, 1)
    if padding_mode != "constant":
        return pixels
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    return torch.where(inside.unsqueeze(1), pixels, padding_value)


def _nearest(points: Tensor) -> Tensor:
    if ((points - points.floor() - 0.5).abs() < _TIE).any():
        raise NotExecutable("a coordinate is in the middle of two pixels, and which is the nearest one is not documented")
    return points.round().long()


def _sampled(x: Tensor, across: Tensor, down: Tensor, sampling_mode: str, padding_mode: str, padding_value: float) -> Tensor:
    """`x` [B, C, H1, W1] at the points `across` and `down` [B, H2, W2], in pixels."""
    if sampling_mode == "nearest":
        return _pixels(x, _nearest(down), _nearest(across), padding_mode, padding_value)
    left, top = across.floor(), down.floor()
    result = torch.zeros(())
    for column, of_column in ((left, left + 1 - across), (left + 1, across - left)):
        for row, of_row in ((top, top + 1 - down), (top + 1, down - top)):
            pixels = _pixels(x, row.long(), column.long(), padding_mode, padding_value)
            result = result + pixels * (of_row * of_column).unsqueeze(1)
    return result


def _resample(
    x: Tensor, coordinates: Tensor, sampling_mode: Any, padding_mode: Any, padding_value: Any, coordinates_mode: Any, align_corners: Any
) -> Tensor:
    """Coordinates [B, H2, W2, 2] say where each output lies in the image: first across it, then down."""
    height, width = x.shape[-2:]
    across = _points(coordinates[..., 0], width, coordinates_mode, bool(align_corners))
    down = _points(coordinates[..., 1], height, coordinates_mode, bool(align_corners))
    return _sampled(x, across, down, sampling_mode, padding_mode, float(padding_value))


def _affine(
    x: Tensor, transform_matrix: Tensor, output_height: Any, output_width: Any, sampling_mode: Any, padding_mode: Any, padding_value: Any,
    coordinates_mode: Any, align_corners: Any,
) -> Tensor:  # fmt: skip
    """Rows [a0, a1, a2, b0, b1, b2] of the matrix map a point (x, y) of the output to (a0 x + a1 y + a2, b0 x + b1 y + b2) of the image."""
    height, width = int(output_height), int(output_width)
    if not align_corners or 1 in (height, width):
        raise NotExecutable("where its points lie is documented with align_corners, and for outputs of 2 pixels or more, only")
    down, across = torch.meshgrid(*(torch.linspace(-1, 1, size, dtype=torch.float64) for size in (height, width)), indexing="ij")
    a, b = transform_matrix.reshape(-1, 2, 3, 1, 1).expand(len(x), 2, 3, 1, 1).unbind(1)
    coordinates = torch.stack([row[:, 0] * across + row[:, 1] * down + row[:, 2] for row in (a, b)], -1)
    return _resample(x, coordinates, sampling_mode, padding_mode, padding_value, coordinates_mode, True)


RESAMPLE: dict[str, Operator] = {"affine": _affine, "resample": _resample}
