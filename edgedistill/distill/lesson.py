"""What is taught, and in which order: stages, images, views, and what the teachers say of them."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from edgedistill.recipe.losses import Losses
from edgedistill.tasks.image_classification.imageset import ImageSet
from edgedistill.tasks.image_classification.views import Views
from edgedistill.teach.signals import TeacherSignals


@dataclass(frozen=True)
class Stage:
    """A part of training with its own losses, epochs and highest learning rate (cosine to 0, after a linear warm-up)."""

    name: str
    epochs: int
    lr: float
    losses: Losses
    warmup: float = 0.1
    online: bool = False
    """Each epoch has views of its own, and the teacher is asked at each step."""
    mixup: bool = False


def learning_rate(stage: Stage, fraction: float) -> float:
    """The learning rate when `fraction` (0 to 1) of the stage's steps are done."""
    if fraction < stage.warmup:
        return stage.lr * fraction / stage.warmup
    return stage.lr * 0.5 * (1 + math.cos(math.pi * (fraction - stage.warmup) / (1 - stage.warmup)))


@dataclass(frozen=True)
class Batch:
    """images: float32 [B, 3, S, S] in 0..1; labels: int64 [B], -1 for none; teacher: its signals, empty where no loss needs them."""

    images: torch.Tensor
    labels: torch.Tensor
    teacher: dict[str, torch.Tensor]

    def to(self, device: torch.device) -> "Batch":
        """The same on `device`."""
        return Batch(self.images.to(device), self.labels.to(device), {name: value.to(device) for name, value in self.teacher.items()})


@dataclass(frozen=True)
class Lesson:
    """What is taught, in which order: images and their views, and what the teachers say where a loss needs them."""

    data: ImageSet
    views: Views
    view_count: int
    batch_size: int
    seed: int
    signals: TeacherSignals | None = None
    labelled_only: bool = False
    """Leave out images without a label, in as many steps as with them."""

    def order(self, epoch: int) -> list[np.ndarray]:
        """Sample indices of each step of `epoch`, shuffled by the seed.

        The last, smaller batch is left out unless it is the only one: batch norm needs more than a few samples.
        """
        train = self.data.indices["train"]
        pool = train[self.data.labels[train] >= 0] if self.labelled_only else train
        rng = np.random.default_rng([self.seed, epoch])
        order = rng.permutation(pool)
        while len(order) < len(train):
            order = np.concatenate([order, rng.permutation(pool)])
        return [order[step * self.batch_size : (step + 1) * self.batch_size] for step in range(self.steps)]

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return max(1, len(self.data.indices["train"]) // self.batch_size)

    def batch(self, stage: Stage, epoch: int, indices: np.ndarray) -> Batch:
        """The samples `indices` [B] as `epoch` of the run shows them, with what the teachers say of them."""
        view = epoch if stage.online else epoch % self.view_count
        images = self.views.batch(indices, view, keep=not stage.online)
        if stage.mixup:
            images = _blended(images)
        return Batch(images, torch.from_numpy(self.data.labels[indices]), self._taught(stage, indices, view, images))

    def _taught(self, stage: Stage, indices: np.ndarray, view: int, images: torch.Tensor) -> dict[str, torch.Tensor]:
        if not stage.losses.needs:
            return {}
        if self.signals is None:
            raise ValueError(f"stage {stage.name} compares with a teacher, found none")
        return self.signals.asked(images, indices) if stage.online else self.signals.replayed(indices, view)


def _blended(images: torch.Tensor) -> torch.Tensor:
    """Each image mixed with another of the batch by a share that is uniform in 0..1. Beyer et al. 2022 (arXiv 2106.05237)."""
    share = torch.rand(len(images), 1, 1, 1)
    return share * images + (1 - share) * images[torch.randperm(len(images))]
