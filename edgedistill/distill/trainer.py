"""The trainer: AdamW over stages, one checkpoint an epoch, the same result whether or not it was interrupted."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timm.utils import ModelEmaV3
from torch import nn

from edgedistill.distill import checkpoint
from edgedistill.distill.criterion import Criterion, student_signals
from edgedistill.errors import UserError
from edgedistill.progress import track
from edgedistill.recipe.losses import Losses
from edgedistill.tasks.taps import Taps
from edgedistill.teach.imageset import ImageSet
from edgedistill.teach.signals import TeacherSignals
from edgedistill.teach.views import Views


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

    def batches(self, epoch: int) -> list[np.ndarray]:
        """Sample indices of each step of `epoch`, shuffled by the seed.

        The last, smaller batch is left out unless it is the only one: batch norm needs more than a few samples.
        """
        train = self.data.indices["train"]
        pool = train[self.data.labels[train] >= 0] if self.labelled_only else train
        rng = np.random.default_rng([self.seed, epoch])
        order = rng.permutation(pool)
        while len(order) < len(train):
            order = np.concatenate([order, rng.permutation(pool)])
        steps = max(1, len(train) // self.batch_size)
        return [order[step * self.batch_size : (step + 1) * self.batch_size] for step in range(steps)]

    def view(self, stage: Stage, epoch: int) -> int:
        """The number of the view that `epoch` of the run shows."""
        return epoch if stage.online else epoch % self.view_count


def learning_rate(stage: Stage, fraction: float) -> float:
    """The learning rate when `fraction` (0 to 1) of the stage's steps are done."""
    if fraction < stage.warmup:
        return stage.lr * fraction / stage.warmup
    return stage.lr * 0.5 * (1 + math.cos(math.pi * (fraction - stage.warmup) / (1 - stage.warmup)))


def fit(
    module: nn.Module,
    lesson: Lesson,
    stages: list[Stage],
    *,
    name: str,
    path: Path,
    weight_decay: float,
    ema: float | None = None,
    accumulate: int = 1,
    first_epoch: int = 0,
    at: Callable[[float], None] | None = None,
) -> list[dict[str, Any]]:
    """Train `module` in place; returns a curve with one record an epoch: stage, epoch, loss (the weighted sum), losses (each by name,
    unweighted), val_accuracy, lr, seconds.

    path: the checkpoint, written after each epoch; when it exists, training goes on from it.
    ema: decay of an exponential mean of the weights, which is scored and kept instead of the last weights.
    accumulate: parts that a batch is computed in, one after the other; losses that are means over samples do not change by it.
    first_epoch: epochs that came before in this run, so that order and views go on instead of starting over.
    at: called before each step with the fraction of all steps that is done (schedules of QAT).

    Raises UserError when the loss is NaN or infinite; the checkpoint of the last good epoch stays.
    """
    # Copied before the taps are set, which would be copied too. Its warm-up keeps the first weights from staying in a short training.
    averaged = None if ema is None else ModelEmaV3(module, decay=ema, use_warmup=True)
    scored = module if averaged is None else averaged.module
    taps, criterion = _criterion(module, lesson, stages)
    parts = {"module": module, "criterion": criterion} | ({} if averaged is None else {"averaged": scored})
    parameters = [p for p in (*module.parameters(), *criterion.parameters()) if p.requires_grad]
    # Fused: one pass over the parameters instead of a dozen small operators for each, a sixth of a step on a small CPU.
    optimizer = torch.optim.AdamW(parameters, lr=0.0, weight_decay=weight_decay, fused=True)
    curve: list[dict[str, Any]] = []
    if path.exists():
        curve = checkpoint.restore(path, parts, optimizer)["curve"]
    plan = [(stage, epoch) for stage in stages for epoch in range(stage.epochs)]
    steps = len(lesson.batches(0))
    with track(name, len(plan) * steps) as progress:
        progress.advance(len(curve) * steps)
        for index in range(len(curve), len(plan)):
            stage, epoch = plan[index]
            started = time.monotonic()
            # Dropout draws from the global generator: seeded by epoch, so that a resumed run repeats it.
            torch.manual_seed(lesson.seed * 1_000_003 + first_epoch + index)

            def before_step(step: int, stage: Stage = stage, epoch: int = epoch, index: int = index) -> float:
                fraction = (epoch + (step + 0.5) / steps) / stage.epochs
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate(stage, fraction)
                if at is not None:
                    at((index + step / steps) / len(plan))
                return fraction

            def after_step(step: int, index: int = index) -> None:
                if averaged is not None:
                    averaged.update(module, step=index * steps + step + 1)
                progress.advance(1, stage=plan[index][0].name)

            one = Epoch(stage, first_epoch + index, accumulate, before_step, after_step)
            means = _epoch(taps, criterion, lesson, one, optimizer)
            loss = means.pop("loss")
            if not math.isfinite(loss):
                raise UserError(
                    f"{name}: the loss became {loss} in stage {stage.name}, epoch {epoch + 1}. "
                    f"Lower its lr ({stage.lr:g}) or check the images; the epochs before it are kept."
                )
            accuracy = _accuracy(scored.eval(), lesson)
            record = {"epoch": first_epoch + index + 1, "stage": stage.name, "loss": loss, "losses": means, "val_accuracy": accuracy}
            record |= {"lr": optimizer.param_groups[0]["lr"], "seconds": time.monotonic() - started}
            curve.append(record)
            checkpoint.save(path, parts, optimizer, {"curve": curve})
    taps.remove()
    if averaged is not None:
        module.load_state_dict(scored.state_dict())
    module.eval()
    return curve


def _criterion(module: nn.Module, lesson: Lesson, stages: list[Stage]) -> tuple[Taps, Criterion]:
    """The losses of all stages, and the student with taps where they need more than its logits."""
    wanted = frozenset().union(*(student_signals(stage.losses) for stage in stages))
    taps = Taps(module, wanted)
    torch.manual_seed(lesson.seed)
    losses = [stage.losses for stage in stages]
    student: dict[str, torch.Tensor] = {}
    teacher: dict[str, torch.Tensor] = {}
    if wanted:
        indices = lesson.data.indices["train"][:2]
        images = lesson.views.batch(indices, 0)
        module.eval()
        with torch.no_grad():
            student = taps(images)
        # A stage that is online may need other signals than those that are cached.
        for stage in stages:
            teacher |= _taught(lesson, stage, indices, 0, images)
    return taps, Criterion(losses, student, teacher, len(lesson.data.indices["train"]))


def _taught(lesson: Lesson, stage: Stage, indices: np.ndarray, view: int, images: torch.Tensor) -> dict[str, torch.Tensor]:
    """What the teachers say of a batch; nothing where no loss of the stage needs it."""
    if not stage.losses.needs:
        return {}
    if lesson.signals is None:
        raise ValueError(f"stage {stage.name} compares with a teacher, found none")
    return lesson.signals.asked(images, indices) if stage.online else lesson.signals.replayed(indices, view)


def _blended(images: torch.Tensor) -> torch.Tensor:
    """Each image mixed with another of the batch by a share that is uniform in 0..1. Beyer et al. 2022 (arXiv 2106.05237)."""
    share = torch.rand(len(images), 1, 1, 1)
    return share * images + (1 - share) * images[torch.randperm(len(images))]


@dataclass(frozen=True)
class Epoch:
    """One pass over the training images, `number` of the run.

    before_step: sets what is scheduled, and tells the share of the stage that is done. after_step: called with the step's number.
    """

    stage: Stage
    number: int
    accumulate: int
    before_step: Callable[[int], float]
    after_step: Callable[[int], None]


def _epoch(taps: Taps, criterion: Criterion, lesson: Lesson, epoch: Epoch, optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """Train for one epoch; returns the mean `loss`, and of each loss in it."""
    taps.model.train()
    stage, batches = epoch.stage, lesson.batches(epoch.number)
    view = lesson.view(stage, epoch.number)
    summed: dict[str, torch.Tensor] = {}
    for step, batch in enumerate(batches):
        fraction = epoch.before_step(step)
        optimizer.zero_grad()
        for indices in np.array_split(batch, epoch.accumulate):
            share = len(indices) / len(batch)
            labels = torch.from_numpy(lesson.data.labels[indices])
            images = lesson.views.batch(indices, view, keep=not stage.online)
            if stage.mixup:
                images = _blended(images)
            loss, values = criterion(stage.losses, taps(images), labels, _taught(lesson, stage, indices, view, images), fraction)
            (share * loss).backward()
            # Summed as tensors: reading a value each step would make an accelerator wait.
            for name, value in {"loss": loss.detach(), **values}.items():
                summed[name] = summed.get(name, 0) + share * value
        optimizer.step()
        epoch.after_step(step)
    return {name: float(value) / len(batches) for name, value in summed.items()}


def _accuracy(module: nn.Module, lesson: Lesson) -> float:
    from edgedistill.tasks.image_classification import predict

    val = lesson.data.indices["val"]
    return float((predict(module, lesson.data.images[val]).argmax(axis=1) == lesson.data.labels[val]).mean())
