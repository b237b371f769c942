"""How an image becomes what a file takes."""

import numpy as np

from edgedistill.recipe.inputs import takes_bytes


def as_taken(images: np.ndarray, kind: str) -> np.ndarray:
    """`images`, float32 [N, 3, S, S] in 0..1 as 8 bits give them, as a file with the input `kind` takes them.

    For `uint8-nhwc`, and for the image that an app makes of the same bytes: uint8 [N, S, S, 3], each the nearest to 255 times the value.
    """
    if not takes_bytes(kind):
        return images
    count, channels, height, width = images.shape
    taken = np.empty((count, height, width, channels), np.uint8)
    # One at a time: val may be a file that is larger than the memory.
    for place, image in enumerate(images):
        taken[place] = np.rint(image * np.float32(255)).transpose(1, 2, 0)
    return taken
