"""From what a recipe says of a loss to its value. A loss names its functions here, or in a module of another package.

A formula gets the loss and what is compared, and gives a scalar. What a loss learns is made once for all stages that use it, by a function
of the signals of any batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgedistill.distill import features, losses
from edgedistill.errors import UserError
from edgedistill.recipe import losses as configs
from edgedistill.recipe.losses import scheduled_value, signal_of

Signals = Mapping[str, Tensor]
_POOLS = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}
_CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


@dataclass(frozen=True)
class Compared:
    """What a loss compares. Outputs have one row for each position that counts: [n, ...] instead of [B, T, ...]."""

    student: Signals
    teacher: Signals
    """Empty where no loss of the stage needs a teacher."""
    target: Tensor | None
    """That of the loss's output, [n] or [n, ...], every one of which is known; None for a loss that needs none."""
    fraction: float
    """Share of the stage's steps that is done, for what is scheduled."""
    learned: nn.ModuleDict
    """What losses learn, by name."""
    name: str
    """Name of the loss among those of its stage."""
    samples: int
    """Number of training samples."""

    def outputs(self, loss: configs.Loss) -> tuple[Tensor, Tensor]:
        """The output that the loss compares, of the student and of the teacher."""
        return self.student[loss.signal], self.teacher[loss.signal]

    def known(self) -> Tensor:
        """The target of a loss that needs one."""
        assert self.target is not None, "a loss with needs_targets is given its targets"
        return self.target


def cross_entropy(loss: configs.CrossEntropy, it: Compared) -> Tensor:
    """See `losses.cross_entropy`."""
    return losses.cross_entropy(it.student[loss.signal], it.known(), loss.label_smoothing)


def class_calibration(loss: configs.ClassCalibration, it: Compared) -> Tensor:
    """See `losses.class_calibration_error`."""
    return losses.class_calibration_error(it.student[loss.signal], it.known())


def distillation(loss: configs.Distillation, it: Compared) -> Tensor:
    """See `losses.distillation`."""
    return losses.distillation(*it.outputs(loss), scheduled_value(loss.temperature, it.fraction), standardize=loss.standardize)


def decoupled_distillation(loss: configs.DecoupledDistillation, it: Compared) -> Tensor:
    """See `losses.decoupled_distillation`."""
    ours, theirs = it.outputs(loss)
    temperature = scheduled_value(loss.temperature, it.fraction)
    return losses.decoupled_distillation(ours, theirs, it.known(), temperature, alpha=loss.alpha, beta=loss.beta)


def correlation_distillation(loss: configs.CorrelationDistillation, it: Compared) -> Tensor:
    """See `losses.correlation_distillation`."""
    ours, theirs = it.outputs(loss)
    temperature = scheduled_value(loss.temperature, it.fraction)
    return losses.correlation_distillation(ours, theirs, temperature, inter=loss.inter, intra=loss.intra)


def hint_projectors(loss: configs.Hint, student: Signals, teacher: Signals) -> dict[str, nn.Module]:
    """A 1x1 convolution from the student's channels to the teacher's."""
    ours, theirs = student[signal_of(loss.layer)], teacher[signal_of(loss.teacher_layer)]
    return {"": nn.Conv2d(ours.shape[1], theirs.shape[1], 1)}


def hint(loss: configs.Hint, it: Compared) -> Tensor:
    """See `features.hint`."""
    ours, theirs = it.student[signal_of(loss.layer)], it.teacher[signal_of(loss.teacher_layer)]
    return features.hint(*_same_size(it.learned[it.name](ours), theirs))


def regression(loss: configs.Regression, it: Compared) -> Tensor:
    """See `losses.regression`; averaged over the outputs."""
    names = loss.outputs or [name for name in it.teacher if not name.startswith("features:")]
    return torch.stack([losses.regression(it.student[name], it.teacher[name]) for name in names]).mean()


def linear_maps(loss: configs.FeatureRegression, student: Signals, teacher: Signals) -> dict[str, nn.Module]:
    """A linear map at each place from the student's channels to the teacher's."""
    ours, theirs = _features(loss, student, teacher)
    if ours.ndim != theirs.ndim or ours.ndim - 2 not in (0, *_CONVOLUTIONS):
        raise UserError(
            f"hint: found results of shape {list(ours.shape)} of {loss.layer} and {list(theirs.shape)} of the teacher's "
            f"{loss.teacher_layer}, expected as many dimensions of both, two to five with the batch"
        )
    if ours.ndim == 2:
        return {"": nn.Linear(ours.shape[1], theirs.shape[1])}
    return {"": _CONVOLUTIONS[ours.ndim - 2](ours.shape[1], theirs.shape[1], 1)}


def feature_regression(loss: configs.FeatureRegression, it: Compared) -> Tensor:
    """See `features.hint`."""
    ours, theirs = _features(loss, it.student, it.teacher)
    ours = it.learned[it.name](ours)
    return features.hint(*(_same_size(ours, theirs) if ours.ndim > 2 else (ours, theirs)))


def _features(loss: configs.FeatureRegression, student: Signals, teacher: Signals) -> tuple[Tensor, Tensor]:
    """Both results with the channels behind the batch."""
    ours, theirs = student[signal_of(loss.layer)], teacher[signal_of(loss.teacher_layer)]
    return (ours, theirs) if loss.channels == "first" else (ours.movedim(-1, 1), theirs.movedim(-1, 1))


def check_places(loss: configs.AttentionTransfer, student: Signals, teacher: Signals) -> dict[str, nn.Module]:
    """Nothing to learn. Attention is where in an image: a map of one place is normalised to 1, and the loss is 0 whatever happens."""
    ours, theirs = student[signal_of(loss.layer)], teacher[signal_of(loss.teacher_layer)]
    if min(*ours.shape[2:], *theirs.shape[2:]) < 2:
        sizes = [" x ".join(map(str, maps.shape[2:])) for maps in (ours, theirs)]
        raise UserError(
            f"attention_transfer compares places of feature maps: found {sizes[0]} of the student and {sizes[1]} of the teacher, "
            "expected 2 x 2 or more; name earlier modules as layer and teacher_layer, or raise data.image_size"
        )
    return {}


def attention_transfer(loss: configs.AttentionTransfer, it: Compared) -> Tensor:
    """See `features.attention_transfer`."""
    return features.attention_transfer(*_same_size(it.student[signal_of(loss.layer)], it.teacher[signal_of(loss.teacher_layer)]))


def relational_distillation(loss: configs.RelationalDistillation, it: Compared) -> Tensor:
    """See `features.relational_distillation`."""
    parts = {"distance": loss.distance, "angle": loss.angle}
    return features.relational_distillation(it.student["embedding"], it.teacher["embedding"], **parts)


def contrastive_projectors(loss: configs.ContrastiveDistillation, student: Signals, teacher: Signals) -> dict[str, nn.Module]:
    """Linear layers from both embeddings to the dimensions of the loss."""
    sizes = [signals["embedding"].shape[1] for signals in (student, teacher)]
    return {"": nn.Linear(sizes[0], loss.dimensions), "_teacher": nn.Linear(sizes[1], loss.dimensions)}


def contrastive_distillation(loss: configs.ContrastiveDistillation, it: Compared) -> Tensor:
    """See `features.contrastive_distillation`."""
    ours, theirs = it.learned[it.name](it.student["embedding"]), it.learned[f"{it.name}_teacher"](it.teacher["embedding"])
    return features.contrastive_distillation(ours, theirs, it.known(), temperature=loss.temperature, samples=it.samples)


def _same_size(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Both maps at the smaller of their sizes, by average pooling."""
    size = [min(x, y) for x, y in zip(a.shape[2:], b.shape[2:], strict=True)]
    pool = _POOLS[len(size)]
    return pool(a, size), pool(b, size)  # type: ignore[arg-type]
