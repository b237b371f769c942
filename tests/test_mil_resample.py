"""MIL's sampling of images at given points: what is expected is worked out by hand from the documentation of `resample` and `affine`."""

from typing import Any

import numpy as np
import pytest
import torch

from edgedistill.backends.coreml.mil.ops import OPERATORS
from edgedistill.measure.runner.refusal import NotExecutable

IMAGE = torch.tensor([[[[10.0, 20.0, 40.0], [50.0, 70.0, 90.0]]]], dtype=torch.float64)
"""Two rows of three pixels."""


def sampled(*points: tuple[float, float], **options: Any) -> list[float]:
    """`IMAGE` at points (across, down)."""
    given = {
        "sampling_mode": "bilinear", "padding_mode": "constant", "padding_value": 0.0, "coordinates_mode": "unnormalized",
        "align_corners": True, **options,
    }  # fmt: skip
    coordinates = torch.tensor(points, dtype=torch.float64).reshape(1, 1, -1, 2)
    return OPERATORS["resample"](IMAGE, coordinates, **given).flatten().tolist()


def test_between_pixels_values_are_interpolated() -> None:
    # The second lies in the middle of the four pixels at the left: (10 + 20 + 50 + 70) / 4.
    assert sampled((2, 1), (0.5, 0.5), (1.25, 0)) == [90, 37.5, 25]


@pytest.mark.parametrize(
    ("mode", "align", "points"),
    [
        # The centres of the outer pixels are -1 and 1, or 0 and 1.
        ("normalized_minus_one_to_one", True, [(-1, -1), (0, 1), (1, 0)]),
        ("normalized_zero_to_one", True, [(0, 0), (0.5, 1), (1, 0.5)]),
        # Their outer edges are: a pixel is a third of the width, and half of the height.
        ("normalized_minus_one_to_one", False, [(-2 / 3, -0.5), (0, 0.5), (2 / 3, 0)]),
        ("normalized_zero_to_one", False, [(1 / 6, 0.25), (0.5, 0.75), (5 / 6, 0.5)]),
        # Pixels whatever align_corners says.
        ("unnormalized", True, [(0, 0), (1, 1), (2, 0.5)]),
        ("unnormalized", False, [(0, 0), (1, 1), (2, 0.5)]),
    ],
)
def test_coordinates_are_of_the_centres_or_of_the_edges(mode: str, align: bool, points: list[tuple[float, float]]) -> None:
    np.testing.assert_allclose(sampled(*points, coordinates_mode=mode, align_corners=align), [10, 70, 65], rtol=1e-12)


@pytest.mark.parametrize(
    ("mode", "row"),
    [
        # The documentation's own sequences of three pixels: |c, c, c, 1, 2, 3, c, c, c| and so on.
        ("constant", [6, 6, 6, 10, 20, 40, 6, 6, 6]),
        ("border", [10, 10, 10, 10, 20, 40, 40, 40, 40]),
        ("reflection", [20, 40, 20, 10, 20, 40, 20, 10, 20]),
        ("symmetric", [40, 20, 10, 10, 20, 40, 40, 20, 10]),
    ],
)
@pytest.mark.parametrize("sampling", ["bilinear", "nearest"])
def test_an_image_goes_on_beyond_its_border(mode: str, row: list[float], sampling: str) -> None:
    options = {"padding_mode": mode, "padding_value": 6.0, "sampling_mode": sampling}
    assert sampled(*[(x, 0) for x in range(-3, 6)], **options) == row
    # Half way to the pixel before the first one, which is that of the padding.
    if sampling == "bilinear":
        assert sampled((-0.5, 0), **options) == [(row[2] + 10) / 2]


def test_one_pixel_has_nothing_but_itself_to_reflect() -> None:
    options = {"sampling_mode": "bilinear", "padding_value": 0.0, "coordinates_mode": "unnormalized", "align_corners": True}
    for mode in ("reflection", "symmetric", "border"):
        point = torch.tensor([[[[-3.0, 7.0]]]])
        assert OPERATORS["resample"](torch.full((1, 1, 1, 1), 5.0), point, padding_mode=mode, **options).item() == 5


def test_each_image_of_a_batch_has_its_own_points() -> None:
    options = {"padding_mode": "border", "padding_value": 0.0, "coordinates_mode": "unnormalized", "align_corners": True}
    images = torch.arange(12.0).reshape(2, 3, 1, 2)
    points = torch.tensor([[[[0.2, 0.0]]], [[[0.8, 0.0]]]])
    assert OPERATORS["resample"](images, points, sampling_mode="nearest", **options).squeeze().tolist() == [[0, 2, 4], [7, 9, 11]]


def test_the_nearest_of_two_pixels_is_not_guessed() -> None:
    assert sampled((0.49, 0.2), (1.51, 0.9), sampling_mode="nearest") == [10, 90]
    with pytest.raises(NotExecutable, match="in the middle of two pixels"):
        sampled((0.5, 0), sampling_mode="nearest")


def moved(*matrix: float, size: tuple[int, int] = (2, 3), **options: Any) -> list[float]:
    given = {
        "sampling_mode": "bilinear", "padding_mode": "constant", "padding_value": 0.0, "coordinates_mode": "normalized_minus_one_to_one",
        "align_corners": True, **options,
    }  # fmt: skip
    return OPERATORS["affine"](IMAGE, torch.tensor([matrix], dtype=torch.float64), *size, **given).flatten().tolist()


def test_an_affine_map_says_where_each_pixel_comes_from() -> None:
    assert moved(1, 0, 0, 0, 1, 0) == [10, 20, 40, 50, 70, 90]
    assert moved(-1, 0, 0, 0, 1, 0) == [40, 20, 10, 90, 70, 50], "x' = -x is the mirror image"
    # x' = x + 1 is one pixel to the right, beyond which the image is 0.
    assert moved(1, 0, 1, 0, 1, 0) == [20, 40, 0, 70, 90, 0]
    # x' = y and y' = x turn a square: corners only.
    assert moved(0, 1, 0, 1, 0, 0, size=(2, 2)) == [10, 50, 40, 90]
    for refused in ({"size": (1, 3)}, {"align_corners": False}):
        with pytest.raises(NotExecutable, match="2 pixels or more"):
            moved(1, 0, 0, 0, 1, 0, **refused)
