"""What is known of an image without a model."""

from __future__ import annotations

import numpy as np

_LARGEST = 255
FEATURES = tuple(f"{channel}_{what}" for channel in ("red", "green", "blue") for what in ("mean", "deviation"))
"""Mean and standard deviation of each channel, from 0 to 1."""


def features(pixels: np.ndarray) -> dict[str, float]:
    """The features of pixels uint8 [S, S, 3] RGB. Sums are those of whole numbers, so that every language gives the same."""
    values = pixels.reshape(-1, 3).astype(np.int64)
    count, sums, squares = len(values), values.sum(axis=0), (values * values).sum(axis=0)
    means, deviations = sums / (count * _LARGEST), np.sqrt(count * squares - sums * sums) / (count * _LARGEST)
    return dict(zip(FEATURES, np.stack([means, deviations], axis=1).ravel().tolist(), strict=True))
