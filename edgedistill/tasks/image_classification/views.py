"""Augmented views that can be replayed: view v of sample i is a function of the seed, i and v alone."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from edgedistill.tasks.image_classification.recipe.data import Augment


class Images(Protocol):
    """uint8 [N, 3, H, W], in memory or read as they are used."""

    @property
    def shape(self) -> tuple[int, ...]:
        """N, 3, H, W."""

    def __getitem__(self, key: np.ndarray, /) -> np.ndarray:
        """The images of an array of numbers [B]."""


def build_transform(config: Augment) -> Any:
    """The torchvision v2 transform of `config`, for uint8 tensors [3, H, W]; None when nothing is asked for."""
    from torchvision.transforms import v2

    steps: list[Any] = []
    if config.rotate or config.shift or config.scale:
        steps.append(
            v2.RandomAffine(
                degrees=config.rotate,
                translate=(config.shift, config.shift),
                scale=(1 - config.scale, 1 + config.scale),
                interpolation=v2.InterpolationMode.BILINEAR,
            )
        )
    if config.hflip:
        steps.append(v2.RandomHorizontalFlip())
    if config.brightness:
        steps.append(v2.ColorJitter(brightness=config.brightness, contrast=config.brightness))
    if config.erase:
        steps.append(v2.RandomErasing(p=config.erase))
    return v2.Compose(steps) if steps else None


_MOST_OF_DISK = 0.25
"""Share of the free disk space that views may take."""


class Views:
    """Augmented batches of an image set.

    Teacher, control and student see the same few views epoch after epoch: each is made once and kept in a file without a name, which the
    system removes with the process, as far as the disk has room. Worker processes, which are copies of the one that made the file, share
    it.
    """

    def __init__(self, images: Images, config: Augment, seed: int, folder: Path | None = None) -> None:
        """images: uint8 [N, 3, H, W]. folder: whose disk the file is on; None for that of other temporary files."""
        self.images, self.seed = images, seed
        self.transform = build_transform(config)
        self._kept = None if self.transform is None else Kept(images.shape, folder)

    def batch(self, indices: np.ndarray, view: int, *, keep: bool = True) -> torch.Tensor:
        """View `view` of the samples `indices` [B]: float32 [B, 3, H, W] in 0..1, channels last in memory.

        keep: it will be asked for again.
        """
        if self.transform is None:
            images = torch.from_numpy(np.array(self.images[indices]))
        elif keep and self._kept is not None:
            images = self._made_once(self._kept, indices, view)
        else:
            images = self._augmented(indices, view)
        # Channels last: oneDNN's convolutions on a processor are up to a third faster so, and those of tensor cores too.
        return images.to(torch.float32, memory_format=torch.channels_last).div_(255)

    def _made_once(self, kept: Kept, indices: np.ndarray, view: int) -> torch.Tensor:
        images, made = kept.read(indices, view)
        if not made.all():
            missing = self._augmented(indices[~made], view).numpy()
            images[~made] = missing
            kept.write(indices[~made], view, missing)
        return torch.from_numpy(images)

    def _augmented(self, indices: np.ndarray, view: int) -> torch.Tensor:
        images = torch.from_numpy(np.array(self.images[indices]))
        # torchvision draws from the global generator: it is seeded for each sample, and given back as it was.
        with torch.random.fork_rng(devices=[]):
            return torch.stack([self._transformed(image, int(index), view) for image, index in zip(images, indices, strict=True)])

    def _transformed(self, image: torch.Tensor, index: int, view: int) -> torch.Tensor:
        digest = hashlib.blake2b(f"{self.seed}/{index}/{view}".encode(), digest_size=7).digest()
        torch.default_generator.manual_seed(int.from_bytes(digest))
        return self.transform(image)


class Kept:
    """Views that were made, in a file of rows: the pixels, and behind them a byte that is 1 where they are there."""

    def __init__(self, shape: tuple[int, ...], folder: Path | None) -> None:
        self._shape = shape
        self._pixels = int(np.prod(shape[1:]))
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  open for as long as there are views
        self._most = _MOST_OF_DISK * shutil.disk_usage(tempfile.gettempdir() if folder is None else folder).free

    def read(self, indices: np.ndarray, view: int) -> tuple[np.ndarray, np.ndarray]:
        """The view of the samples `indices` [B], uint8 [B, C, H, W], and of which of them it is there, bool [B]."""
        rows = np.zeros((len(indices), self._pixels + 1), np.uint8)
        for row, place in zip(rows, self._places(indices, view), strict=True):
            os.preadv(self._file.fileno(), [row.data], place)
        return rows[:, :-1].reshape(len(indices), *self._shape[1:]), rows[:, -1] == 1

    def write(self, indices: np.ndarray, view: int, images: np.ndarray) -> None:
        """Keep a view of the samples `indices` [B], uint8 [B, C, H, W], unless all views up to it take too much."""
        if (view + 1) * self._shape[0] * (self._pixels + 1) > self._most:
            return
        rows = np.ones((len(indices), self._pixels + 1), np.uint8)
        rows[:, :-1] = images.reshape(len(indices), -1)
        for row, place in zip(rows, self._places(indices, view), strict=True):
            try:
                # What a full disk cut off has no 1 at its end.
                os.pwrite(self._file.fileno(), row.data, place)
            except OSError:
                self._most = 0
                return

    def _places(self, indices: np.ndarray, view: int) -> list[int]:
        return [(view * self._shape[0] + index) * (self._pixels + 1) for index in indices.tolist()]
