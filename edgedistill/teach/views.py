"""Augmented views that can be replayed: view v of sample i is a function of the seed, i and v alone."""

import hashlib
from typing import Any

import numpy as np
import torch

from edgedistill.recipe.data import Augment


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


class Views:
    """Augmented batches of an image set."""

    def __init__(self, images: np.ndarray, config: Augment, seed: int) -> None:
        self.images, self.seed = images, seed
        self.transform = build_transform(config)

    def batch(self, indices: np.ndarray, view: int) -> torch.Tensor:
        """View `view` of the samples `indices` [B]: float32 [B, 3, H, W] in 0..1."""
        images = torch.from_numpy(np.array(self.images[indices]))
        if self.transform is not None:
            # torchvision draws from the global generator: it is seeded for each sample, and given back as it was.
            with torch.random.fork_rng(devices=[]):
                images = torch.stack([self._one(image, int(index), view) for image, index in zip(images, indices, strict=True)])
        return images.float().div_(255)

    def _one(self, image: torch.Tensor, index: int, view: int) -> torch.Tensor:
        digest = hashlib.blake2b(f"{self.seed}/{index}/{view}".encode(), digest_size=7).digest()
        torch.default_generator.manual_seed(int.from_bytes(digest))
        return self.transform(image)
