"""Losses of outputs: of logits and labels, and of numbers. Each is a mean over the batch; divergences are in nats, in log space."""

import torch
from torch import Tensor
from torch.nn import functional as F

_TINY = 1e-7


def cross_entropy(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """-log p(label), averaged over the batch; with smoothing e the target is (1 - e) on the label and e / C on every class.

    logits [B, C], labels int64 [B]. Szegedy et al. 2015 (arXiv 1512.00567).
    """
    return F.cross_entropy(logits, labels, label_smoothing=label_smoothing)


def distillation(logits: Tensor, teacher_logits: Tensor, temperature: float, *, standardize: bool = False) -> Tensor:
    """T^2 KL(teacher || student) of the logits divided by T, summed over classes, averaged over the batch.

    logits and teacher_logits [B, C]. T^2 keeps the gradient's size independent of T. Hinton, Vinyals and Dean 2015
    (arXiv 1503.02531), equation 2 and section 2.1. standardize: see `standardized`.
    """
    if standardize:
        logits, teacher_logits = standardized(logits), standardized(teacher_logits)
    return temperature**2 * _divergence(logits / temperature, teacher_logits / temperature)


def standardized(logits: Tensor) -> Tensor:
    """(x - mean) / std of each sample's logits [B, C], so that a student need not reach the teacher's range of logits.

    Sun et al. 2024 (arXiv 2403.01427), algorithm 1; std is that of the C logits themselves (no n - 1).
    """
    centred = logits - logits.mean(dim=1, keepdim=True)
    return centred / (centred.square().mean(dim=1, keepdim=True).sqrt() + _TINY)


def decoupled_distillation(
    logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float, *, alpha: float, beta: float
) -> Tensor:
    """T^2 (alpha TCKD + beta NCKD), averaged over the batch.

    TCKD = KL of (p_label, 1 - p_label); NCKD = KL of the distributions among the other classes. Plain kd weighs NCKD by the
    teacher's 1 - p_label, which is near 0 where the teacher is sure. logits and teacher_logits [B, C], labels int64 [B].
    Zhao et al. 2022 (arXiv 2203.08679).
    """
    ours, theirs = logits / temperature, teacher_logits / temperature
    others = torch.ones_like(ours, dtype=torch.bool).scatter(1, labels[:, None], False)
    binary = [_target_against_rest(x, labels, others) for x in (ours, theirs)]
    target = F.kl_div(binary[0], binary[1], reduction="batchmean", log_target=True)
    rest = _divergence(*(x[others].reshape(len(x), -1) for x in (ours, theirs)))
    return temperature**2 * (alpha * target + beta * rest)


def _target_against_rest(logits: Tensor, labels: Tensor, others: Tensor) -> Tensor:
    """log p_label and log(1 - p_label), [B, 2]; the second from the other classes' logits, since 1 - p loses all digits near 1."""
    log_p = torch.log_softmax(logits, dim=1)
    rest = torch.logsumexp(log_p[others].reshape(len(log_p), -1), dim=1)
    return torch.stack([log_p.gather(1, labels[:, None])[:, 0], rest], dim=1)


def correlation_distillation(logits: Tensor, teacher_logits: Tensor, temperature: float, *, inter: float, intra: float) -> Tensor:
    """T^2 (inter d_inter + intra d_intra), where d = 1 - Pearson's correlation of the softened probabilities.

    d_inter over the classes of each sample, d_intra over the samples of each class; both averaged. logits and teacher_logits [B, C].
    A match up to scale and shift is easier to reach for a student that is far below its teacher.
    Huang et al. 2022 (arXiv 2205.10536); T^2 as in kd.
    """
    ours, theirs = torch.softmax(logits / temperature, dim=1), torch.softmax(teacher_logits / temperature, dim=1)
    return temperature**2 * (inter * _distance(ours, theirs) + intra * _distance(ours.T, theirs.T))


def _distance(a: Tensor, b: Tensor) -> Tensor:
    """1 - Pearson's correlation of the rows of `a` and `b`, averaged over the rows."""
    a, b = a - a.mean(dim=1, keepdim=True), b - b.mean(dim=1, keepdim=True)
    return 1 - F.cosine_similarity(a, b, dim=1, eps=1e-8).mean()


def class_calibration_error(logits: Tensor, labels: Tensor) -> Tensor:
    """1/C sum over classes of |mean probability - frequency| in the batch. logits [B, C], labels int64 [B].

    MDCA, Hebbalaguppe et al. 2022 (arXiv 2203.13834).
    """
    frequency = F.one_hot(labels, logits.shape[1]).to(logits.dtype).mean(dim=0)
    return (torch.softmax(logits, dim=1).mean(dim=0) - frequency).abs().mean()


def regression(output: Tensor, teacher_output: Tensor) -> Tensor:
    """The mean square of the difference of two outputs [B, ...], over the variance of the teacher's: outputs of all sizes count alike."""
    return F.mse_loss(output, teacher_output) / teacher_output.var(correction=0).clamp_min(_TINY)


def _divergence(logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """KL(teacher || student), summed over classes, averaged over the batch."""
    student, teacher = torch.log_softmax(logits, dim=1), torch.log_softmax(teacher_logits, dim=1)
    return F.kl_div(student, teacher, reduction="batchmean", log_target=True)
