"""What a stage minimises. Each loss is a mean over the batch, in nats, computed in log space."""

import torch
from torch.nn import functional as F

from edgedistill.recipe.stages import Losses


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """-log p(label), averaged over the batch. logits [B, C], labels int64 [B]."""
    return -torch.log_softmax(logits, dim=1).gather(1, labels[:, None]).mean()


def distillation(logits: torch.Tensor, teacher_logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """T^2 KL(teacher || student) of the logits divided by T, summed over classes, averaged over the batch.

    logits and teacher_logits [B, C]. T^2 keeps the gradient's size independent of T. Hinton, Vinyals and Dean 2015
    (arXiv 1503.02531), equation 2 and section 2.1.
    """
    student = torch.log_softmax(logits / temperature, dim=1)
    teacher = torch.log_softmax(teacher_logits / temperature, dim=1)
    return temperature**2 * F.kl_div(student, teacher, reduction="batchmean", log_target=True)


def total(losses: Losses, logits: torch.Tensor, labels: torch.Tensor, teacher_logits: torch.Tensor | None) -> torch.Tensor:
    """The weighted sum of a stage's losses; `teacher_logits` may be None where kd is not used."""
    parts = []
    if losses.ce is not None:
        parts.append(losses.ce.weight * cross_entropy(logits, labels))
    if losses.kd is not None:
        if teacher_logits is None:
            raise ValueError("the loss kd needs teacher logits, found none")
        parts.append(losses.kd.weight * distillation(logits, teacher_logits, losses.kd.temperature))
    return torch.stack(parts).sum()
