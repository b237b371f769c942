"""What is known of images without a model. Code of apps computes the same of the bytes that it prepares."""

from __future__ import annotations

import numpy as np

_CHANNELS = ("red", "green", "blue")
_LARGEST = 255


def features(images: np.ndarray) -> dict[str, np.ndarray]:
    """The mean and the standard deviation of each channel of images float32 [n, 3, H, W] in 0..1: float64 [n] by CHANNEL_mean and so on.

    Sums are those of whole numbers, the bytes, so that all languages compute the same.
    """
    values = np.rint(images.reshape(len(images), len(_CHANNELS), -1) * np.float32(_LARGEST)).astype(np.int64)
    count, sums, squares = values.shape[2], values.sum(axis=2), (values * values).sum(axis=2)
    means = sums / (count * _LARGEST)
    deviations = np.sqrt(count * squares - sums * sums) / (count * _LARGEST)
    found: dict[str, np.ndarray] = {}
    for place, channel in enumerate(_CHANNELS):
        found |= {f"{channel}_mean": means[:, place], f"{channel}_deviation": deviations[:, place]}
    return found
