"""Images that are decoded as they are used, since decoded ones would not fit the disk."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from edgedistill.errors import UserError
from edgedistill.rows import Rows
from edgedistill.tasks.image_classification.decoding import as_seen, fitted
from edgedistill.tasks.image_classification.duplicates import hashed
from edgedistill.tasks.image_classification.recipe.data import Resize
from edgedistill.tasks.image_classification.sources import Listing


def decoder(listing: Listing, size: int, resize: Resize) -> Callable[[int], np.ndarray]:
    """A function that gives the image with a number as models see it, uint8 [3, S, S]; UserError names one that can't be read."""
    from PIL import Image

    def decode(number: int) -> np.ndarray:
        try:
            raw = listing.read(number)
            image = as_seen(raw if isinstance(raw, Image.Image) else Image.fromarray(raw))  # type: ignore[arg-type]
        except (OSError, SyntaxError, ValueError) as error:
            raise UserError(f"{listing.names[number]} ({error})") from error
        return np.asarray(fitted(image, size, resize)).transpose(2, 0, 1)

    return decode


class Encoded:
    """uint8 RGB images [N, 3, S, S], each decoded whenever it is asked for.

    listed: gives the listing that they were read by. sums: the hash of each image as it was then, uint64 [N, 2]; UserError names one that
    is another now.
    """

    def __init__(self, listed: Callable[[], Listing], size: int, resize: Resize, sums: Rows) -> None:
        self._listed, self._resize, self._sums = listed, resize, sums
        self.shape, self.dtype = (len(sums), 3, size, size), np.dtype(np.uint8)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """Bytes that all images take when they are decoded."""
        return int(np.prod(self.shape, dtype=float))

    @cached_property
    def _listing(self) -> Listing:
        listing = self._listed()
        if len(listing.labels) != len(self):
            raise UserError(f"found {len(listing.labels)} images in {listing.name}, expected {len(self)}; go on with `edgedistill run`")
        return listing

    @cached_property
    def _decode(self) -> Callable[[int], np.ndarray]:
        return decoder(self._listing, self.shape[-1], self._resize)

    def __getitem__(self, key: Any) -> np.ndarray:
        """The images of a slice, or of an array of numbers [B]."""
        numbers = np.arange(*key.indices(len(self))) if isinstance(key, slice) else np.asarray(key)
        images, sums = np.empty((len(numbers), *self.shape[1:]), np.uint8), self._sums[numbers]
        for place, number in enumerate(numbers.tolist()):
            images[place] = self._decode(number)
            if (hashed(images[place]) != sums[place]).any():
                name = self._listing.names[number]
                raise UserError(f"{name} changed since the run read it; `edgedistill run` of the recipe reads all images again")
        return images
