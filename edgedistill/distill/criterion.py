"""The weighted sum of a stage's losses, with what the losses themselves learn."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgedistill.distill import features, losses
from edgedistill.errors import UserError
from edgedistill.recipe.losses import (
    AttentionTransfer,
    ClassCalibration,
    ContrastiveDistillation,
    CorrelationDistillation,
    CrossEntropy,
    DecoupledDistillation,
    Distillation,
    Hint,
    Loss,
    Losses,
    RelationalDistillation,
    scheduled_value,
    signal_of,
)

Signals = dict[str, Tensor]


def student_signals(used: Losses) -> frozenset[str]:
    """What the student has to give for these losses, beside its logits."""
    found = set()
    for loss in used.used().values():
        if isinstance(loss, (Hint, AttentionTransfer)):
            found.add(signal_of(loss.layer))
        elif loss.needs - {"logits"}:
            found |= loss.needs
    return frozenset(found)


class Criterion(nn.Module):
    """The losses of a model's stages; its parameters are the projectors from the student's features to the teacher's.

    stages: their losses. student, teacher: signals of any batch, for their shapes; samples: number of training samples.
    """

    def __init__(self, stages: list[Losses], student: Signals, teacher: Signals, samples: int) -> None:
        super().__init__()
        self.samples = samples
        self.projectors = nn.ModuleDict()
        for used in stages:
            for name, loss in used.used().items():
                # One projector for all stages that use the loss.
                if isinstance(loss, Hint) and name not in self.projectors:
                    ours, theirs = student[signal_of(loss.layer)], teacher[signal_of(loss.teacher_layer)]
                    self.projectors[name] = nn.Conv2d(ours.shape[1], theirs.shape[1], 1)
                elif isinstance(loss, AttentionTransfer):
                    _check_places(student[signal_of(loss.layer)], teacher[signal_of(loss.teacher_layer)])
                elif isinstance(loss, ContrastiveDistillation) and name not in self.projectors:
                    sizes = [signals["embedding"].shape[1] for signals in (student, teacher)]
                    self.projectors[name] = nn.Linear(sizes[0], loss.dimensions)
                    self.projectors[f"{name}_teacher"] = nn.Linear(sizes[1], loss.dimensions)

    def forward(
        self, used: Losses, student: Signals, labels: Tensor, teacher: Signals, fraction: float = 0.0
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum, and each loss by name, unweighted and detached.

        labels: int64 [B], -1 for a sample without one, which losses of labels leave out. teacher: its signals, empty where no loss
        needs them. fraction: share of the stage's steps that is done, for what is scheduled.
        """
        values = {}
        weighted = []
        known = labels >= 0
        for name, loss in used.used().items():
            if not loss.needs_labels or known.all():
                value = self._value(name, loss, student, labels, teacher, fraction)
            elif known.any():
                ours, theirs = ({key: signal[known] for key, signal in signals.items()} for signals in (student, teacher))
                value = self._value(name, loss, ours, labels[known], theirs, fraction)
            else:
                # 0 and connected to the student, instead of the mean of nothing.
                value = student["logits"].sum() * 0
            values[name] = value.detach()
            weighted.append(scheduled_value(loss.weight, fraction) * value)
        return torch.stack(weighted).sum(), values

    def _value(self, name: str, loss: Loss, student: Signals, labels: Tensor, teacher: Signals, fraction: float) -> Tensor:
        logits = student["logits"]
        match loss:
            case CrossEntropy():
                return losses.cross_entropy(logits, labels, loss.label_smoothing)
            case ClassCalibration():
                return losses.class_calibration_error(logits, labels)
            case Distillation():
                return losses.distillation(
                    logits, teacher["logits"], scheduled_value(loss.temperature, fraction), standardize=loss.standardize
                )
            case DecoupledDistillation():
                parts = {"alpha": loss.alpha, "beta": loss.beta}
                return losses.decoupled_distillation(
                    logits, teacher["logits"], labels, scheduled_value(loss.temperature, fraction), **parts
                )
            case CorrelationDistillation():
                parts = {"inter": loss.inter, "intra": loss.intra}
                return losses.correlation_distillation(logits, teacher["logits"], scheduled_value(loss.temperature, fraction), **parts)
            case Hint():
                ours, theirs = _same_size(self.projectors[name](student[signal_of(loss.layer)]), teacher[signal_of(loss.teacher_layer)])
                return features.hint(ours, theirs)
            case AttentionTransfer():
                return features.attention_transfer(*_same_size(student[signal_of(loss.layer)], teacher[signal_of(loss.teacher_layer)]))
            case RelationalDistillation():
                parts = {"distance": loss.distance, "angle": loss.angle}
                return features.relational_distillation(student["embedding"], teacher["embedding"], **parts)
            case ContrastiveDistillation():
                ours = self.projectors[name](student["embedding"])
                theirs = self.projectors[f"{name}_teacher"](teacher["embedding"])
                return features.contrastive_distillation(ours, theirs, labels, temperature=loss.temperature, samples=self.samples)
        raise ValueError(f"no formula for the loss {type(loss).__name__}")


def _check_places(ours: Tensor, theirs: Tensor) -> None:
    """Attention is where in an image: a map of one place is normalised to 1, and the loss is 0 whatever the student does."""
    if min(*ours.shape[2:], *theirs.shape[2:]) < 2:
        sizes = [" x ".join(map(str, maps.shape[2:])) for maps in (ours, theirs)]
        raise UserError(
            f"attention_transfer compares places of feature maps: found {sizes[0]} of the student and {sizes[1]} of the teacher, "
            "expected 2 x 2 or more; "
            "name earlier modules as layer and teacher_layer, or raise data.image_size"
        )


def _same_size(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Both maps at the smaller of their sizes, by average pooling."""
    size = [min(x, y) for x, y in zip(a.shape[2:], b.shape[2:], strict=True)]
    return F.adaptive_avg_pool2d(a, size), F.adaptive_avg_pool2d(b, size)  # type: ignore[arg-type]
