"""Colours of camera frames: YUV to RGB in whole numbers, which every language computes alike."""

import numpy as np

# 65536 times the factors of ITU-R BT.601 and BT.709, in full and video range: of Y, of V in R, of U and V in G, and of U in B.
FACTORS = {
    ("bt601", "full"): (65536, 91881, 22553, 46802, 116130),
    ("bt601", "video"): (76309, 104597, 25675, 53279, 132201),
    ("bt709", "full"): (65536, 103206, 12276, 30679, 121609),
    ("bt709", "video"): (76309, 117489, 13975, 34925, 138438),
}


def to_rgb(luma: np.ndarray, u: np.ndarray, v: np.ndarray, matrix: str, range_: str) -> np.ndarray:
    """uint8 RGB [H, W, 3] of uint8 Y [H, W], and of U and V [(H + 1) / 2, (W + 1) / 2], each number of which is of four pixels."""
    height, width = luma.shape
    factor, red_v, green_u, green_v, blue_u = FACTORS[matrix, range_]
    u, v = (np.repeat(np.repeat(c.astype(np.int32) - 128, 2, 0), 2, 1)[:height, :width] for c in (u, v))
    y = (luma.astype(np.int32) - (16 if range_ == "video" else 0)) * factor + 32768
    rgb = np.stack([y + red_v * v, y - green_u * u - green_v * v, y + blue_u * u], axis=-1) >> 16
    return rgb.clip(0, 255).astype(np.uint8)
