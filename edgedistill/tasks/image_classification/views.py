"""Augmented views that can be replayed: view v of sample i is a function of the seed, i and v alone."""

import hashlib
from typing import Any

import numpy as np
import torch

from edgedistill.tasks.image_classification.recipe.data import Augment


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


_KEPT_BYTES = 2**30


class Views:
    """Augmented batches of an image set.

    Teacher, control and student see the same few views epoch after epoch: each is made once and kept as uint8, as far as all of
    them take no more than 1 GiB. A seventh of a step of a small student went into making them again.
    """

    def __init__(self, images: np.ndarray, config: Augment, seed: int) -> None:
        self.images, self.seed = images, seed
        self.transform = build_transform(config)
        self._kept: dict[int, tuple[torch.Tensor, np.ndarray]] = {}

    def batch(self, indices: np.ndarray, view: int, *, keep: bool = True) -> torch.Tensor:
        """View `view` of the samples `indices` [B]: float32 [B, 3, H, W] in 0..1, channels last in memory.

        keep: it will be asked for again.
        """
        if self.transform is None:
            images = torch.from_numpy(np.array(self.images[indices]))
        elif not keep or self.images.nbytes * (view + 1) > _KEPT_BYTES:
            images = self._augmented(indices, view)
        else:
            images = self._made_once(indices, view)
        # Channels last: oneDNN's convolutions on a processor are up to a third faster so, and those of tensor cores too.
        return images.to(torch.float32, memory_format=torch.channels_last).div_(255)

    def _made_once(self, indices: np.ndarray, view: int) -> torch.Tensor:
        if view not in self._kept:
            # Memory that is not written yet is not taken yet.
            self._kept[view] = torch.empty(self.images.shape, dtype=torch.uint8), np.zeros(len(self.images), bool)
        kept, made = self._kept[view]
        missing = indices[~made[indices]]
        if len(missing):
            kept[missing] = self._augmented(missing, view)
            made[missing] = True
        return kept[indices]

    def _augmented(self, indices: np.ndarray, view: int) -> torch.Tensor:
        images = torch.from_numpy(np.array(self.images[indices]))
        # torchvision draws from the global generator: it is seeded for each sample, and given back as it was.
        with torch.random.fork_rng(devices=[]):
            return torch.stack([self._transformed(image, int(index), view) for image, index in zip(images, indices, strict=True)])

    def _transformed(self, image: torch.Tensor, index: int, view: int) -> torch.Tensor:
        digest = hashlib.blake2b(f"{self.seed}/{index}/{view}".encode(), digest_size=7).digest()
        torch.default_generator.manual_seed(int.from_bytes(digest))
        return self.transform(image)
