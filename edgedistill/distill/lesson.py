"""What is taught, and in which order: stages, samples, views, and what the teachers say of them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import nn

from edgedistill.recipe.losses import Losses
from edgedistill.signature import Signature
from edgedistill.tasks.base import Task
from edgedistill.tasks.data import SET, Batch, Dataset, of_one_size, sizes_of
from edgedistill.tasks.loading import Request
from edgedistill.tasks.modules import predict_samples
from edgedistill.teach.signals import TeacherSignals


@dataclass(frozen=True)
class Stage:
    """A part of training with its own losses, epochs and learning rate, along a schedule of its own or a part of one."""

    name: str
    epochs: int
    lr: float
    losses: Losses
    warmup: float = 0.1
    """Share of the schedule over which the learning rate rises from 0."""
    part: tuple[float, float] = (0.0, 1.0)
    """Where in the schedule the stage begins and ends, as shares of its steps."""
    online: bool = False
    """Each epoch has views of its own, and the teacher is asked at each step."""
    mixup: bool = False
    on_policy: float = 0.0
    """Share of the steps whose answers the student draws itself."""


def learning_rate(stage: Stage, fraction: float) -> float:
    """The learning rate when `fraction` (0 to 1) of the stage's steps are done: a linear warm-up, and then a cosine to 0."""
    begin, end = stage.part
    done = begin + (end - begin) * fraction
    if done < stage.warmup:
        return stage.lr * done / stage.warmup
    return stage.lr * 0.5 * (1 + math.cos(math.pi * (done - stage.warmup) / (1 - stage.warmup)))


def on_one_schedule(stages: list[Stage]) -> list[Stage]:
    """The stages along one schedule: one warm-up and one cosine over all their steps, times the learning rate of each."""
    total, begin = sum(stage.epochs for stage in stages), 0
    placed = []
    for stage in stages:
        placed.append(replace(stage, part=(begin / total, (begin + stage.epochs) / total)))
        begin += stage.epochs
    return placed


@dataclass(frozen=True)
class Taught:
    """A batch with what the teachers say of it: their signals [B, ...] by name, empty where no loss needs them."""

    batch: Batch
    teacher: dict[str, torch.Tensor]

    def to(self, device: torch.device) -> "Taught":
        """The same on `device`."""
        return Taught(self.batch.to(device), {name: value.to(device) for name, value in self.teacher.items()})


@dataclass(frozen=True)
class Lesson:
    """What is taught, in which order: the samples of a task and their views, and what the teachers say where a loss needs them."""

    task: Task
    signature: Signature
    data: Dataset
    view_count: int
    batch_size: int
    seed: int
    signals: TeacherSignals | None = None
    answers: Mapping[str, np.ndarray] = field(default_factory=dict)
    """What the teachers give for val, [N, ...] by the name of the output: what a task without targets is scored against."""
    with_targets_only: bool = False
    """Leave out samples without a target, in as many steps as with them."""
    size: int | None = None
    """Samples of an epoch; None for as many as there are to train on, by their weights. More of them repeat some."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """How often an epoch shows a sample of a set, by the name of the set; once where none is named."""

    def order(self, epoch: int) -> list[np.ndarray]:
        """Sample indices of each step of `epoch`, shuffled by the seed.

        The last, smaller batch is left out unless it is the only one: batch norm needs more than a few samples. Samples that are filled up
        to one size make batches together, in a shuffled order; those that are left over make the last ones.
        """
        train = self.data.indices["train"]
        pool = train[self.data.has_target[train]] if self.with_targets_only else train
        rng = np.random.default_rng([self.seed, epoch])
        order = self._weighted(rng.permutation(pool), rng)
        while len(order) < self.samples:
            order = np.concatenate([order, self._weighted(rng.permutation(pool), rng)])
        groups = of_one_size(sizes_of(self.data, self.signature.forward, order))
        order = self._together(order, [places for _, places in groups], rng)
        return [order[step * self.batch_size : (step + 1) * self.batch_size] for step in range(self.steps)]

    def _together(self, order: np.ndarray, groups: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
        """`order` as shuffled batches of samples of one group each, given by their places; behind them come those that fill no batch."""
        size = self.batch_size
        whole = [places[start : start + size] for places in groups for start in range(0, len(places) - size + 1, size)]
        if not whole:
            return order
        first = np.concatenate([whole[number] for number in rng.permutation(len(whole))])
        return order[np.concatenate([first, np.setdiff1d(np.arange(len(order)), first)])]

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return max(1, self.samples // self.batch_size)

    @property
    def samples(self) -> int:
        """Samples of an epoch, those that are repeated counted as often."""
        train = self.data.indices["train"]
        return self.size or (max(1, int(self._weights(train).sum())) if self.weights else len(train))

    def _weights(self, indices: np.ndarray) -> np.ndarray:
        """How often an epoch shows each of the samples `indices` [n], float64 [n]."""
        names, which = np.unique(self.data.fields[SET][indices], return_inverse=True)
        return np.array([self.weights.get(str(name), 1.0) for name in names])[which]

    def _weighted(self, order: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The samples `order` [n] as often as their weights say, shuffled.

        Systematic sampling (Madow 1949, Annals of Mathematical Statistics 20): a weight of 2.5 shows a sample two or three times, and their
        number is that of the summed weights but for one.
        """
        if not self.weights:
            return order
        ends = np.floor(self._weights(order).cumsum() + rng.random()).astype(np.int64)
        return rng.permutation(np.repeat(order, np.diff(ends, prepend=0)))

    def request(self, stage: Stage, epoch: int, indices: np.ndarray) -> Request:
        """What the data is asked for, to show the samples `indices` [B] in `epoch` of the run."""
        return Request(indices, epoch if stage.online else epoch % self.view_count, keep=not stage.online)

    def taught(self, stage: Stage, epoch: int, indices: np.ndarray, batch: Batch, student: nn.Module | None = None) -> Taught:
        """The `batch` of a request, or what `student` answers in its place, with what the teachers say of it."""
        if student is not None and stage.on_policy and torch.rand(()) < stage.on_policy:
            batch = self.task.own_answers(student, batch, self.data)
        if stage.mixup:
            batch = _blended(batch)
        return Taught(batch, self._answers(stage, indices, self.request(stage, epoch, indices).view or 0, batch))

    def batch(self, stage: Stage, epoch: int, indices: np.ndarray) -> Taught:
        """The samples `indices` [B] as `epoch` of the run shows them, with what the teachers say of them."""
        request = self.request(stage, epoch, indices)
        return self.taught(stage, epoch, indices, self.data.batch(indices, request.view, keep=request.keep))

    def _answers(self, stage: Stage, indices: np.ndarray, view: int, batch: Batch) -> dict[str, torch.Tensor]:
        if not stage.losses.needs:
            return {}
        if self.signals is None:
            raise ValueError(f"stage {stage.name} compares with a teacher, found none")
        return self.signals.asked(batch.inputs, indices) if stage.online else self.signals.replayed(indices, view)

    def score(self, module: nn.Module) -> float:
        """The primary metric of `module` on val."""
        indices = self.data.indices["val"]
        outputs = predict_samples(module, self.data, indices, self.signature.forward)
        return float(self.task.score(outputs, self.data.targets(indices) or self.answers).mean())


def _blended(batch: Batch) -> Batch:
    """Each sample mixed with another of the batch by a share that is uniform in 0..1. Beyer et al. 2022 (arXiv 2106.05237)."""
    share, other = torch.rand(len(batch)), None
    inputs = {}
    for name, values in batch.inputs.items():
        part = share.reshape(-1, *[1] * (values.ndim - 1))
        other = torch.randperm(len(batch)) if other is None else other
        inputs[name] = part * values + (1 - part) * values[other]
    return replace(batch, inputs=inputs)
