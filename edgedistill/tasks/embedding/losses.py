"""Losses of embeddings, and of attention within a text. Each is a mean over the batch; divergences are in nats, in log space."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from edgedistill.errors import UserError
from edgedistill.recipe.losses import Loss
from edgedistill.tasks.embedding.recipe import MASK, AttentionRelations, ContrastiveSimilarities, CosineDistance

_HIDDEN = -1e9
"""What a relation to a token that is no part of the text is set to."""


class Compared(Protocol):
    """What a loss compares, as training gives it."""

    @property
    def student(self) -> Mapping[str, Tensor]:
        """The signals of the student, [B, ...] by name."""

    @property
    def teacher(self) -> Mapping[str, Tensor]:
        """The signals of the teacher."""

    def outputs(self, loss: Loss) -> tuple[Tensor, Tensor]:
        """The output that the loss compares, of the student and of the teacher."""


def cosine(loss: CosineDistance, it: Compared) -> Tensor:
    """1 - cos(s, t), averaged over the batch: s the student's embedding, t the teacher's, float32 [B, D] both."""
    ours, theirs = it.outputs(loss)
    return 1 - F.cosine_similarity(ours, theirs, dim=1).mean()


def contrastive(loss: ContrastiveSimilarities, it: Compared) -> Tensor:
    """KL(p || q) summed over the other texts of the batch, averaged over the batch.

    p of a text is the softmax of the teacher's cosines to the others, divided by the temperature, and q is that of the student.
    Fang et al. 2021 (arXiv 2101.04731), with the batch instead of a queue, and with each model's own cosines, so that the
    student needs no space in common with the teacher. A text is not compared with itself: that cosine is always 1.
    """
    ours, theirs = (_log_similarities(embedding, loss.temperature) for embedding in it.outputs(loss))
    return F.kl_div(ours, theirs, reduction="batchmean", log_target=True)


def _log_similarities(embedding: Tensor, temperature: float) -> Tensor:
    """Log-probabilities [B, B - 1] of each text's cosines to the others."""
    unit = F.normalize(embedding, dim=1)
    others = ~torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    return torch.log_softmax((unit @ unit.T)[others].reshape(len(unit), -1) / temperature, dim=1)


def attention_relations(loss: AttentionRelations, it: Compared) -> Tensor:
    """The sum over relations of KL(teacher || student), averaged over heads, the tokens of a text, and the batch.

    A relation xy is softmax(X Y^T / sqrt(d)) over the tokens of the text, [B, heads, T, T], of vectors [B, T, D] that are divided into
    `heads` parts of d = D / heads numbers. Wang et al. 2020 (arXiv 2002.10957), sections 3.1 and 3.2, has qk and vv; Wang et al.
    2021 (arXiv 2012.15828), section 3.1, has qq, kk and vv, and a number of heads that is free. Raises UserError where a width can't be
    divided so.
    """
    mask = it.student[MASK] > 0
    ours, theirs = loss.signals(loss.layer), loss.signals(loss.teacher_layer)
    total = it.student[loss.signal].new_zeros(())
    for first, second in loss.relations:
        student = _log_relation(it.student[ours[first]], it.student[ours[second]], mask, loss.heads, "student")
        teacher = _log_relation(it.teacher[theirs[first]], it.teacher[theirs[second]], mask, loss.heads, "teacher")
        divergence = (teacher.exp() * (teacher - student)).sum(dim=3).mean(dim=1)
        total = total + ((divergence * mask).sum(dim=1) / mask.sum(dim=1)).mean()
    return total


def _log_relation(first: Tensor, second: Tensor, mask: Tensor, heads: int, whose: str) -> Tensor:
    """Log-probabilities [B, heads, T, T]: of each token, to the tokens of its text."""
    size, length, width = first.shape
    if width % heads:
        raise UserError(f"minilm.heads: found {heads}, expected a divisor of {width}, the width of the {whose}'s attention")
    parts = [vectors.reshape(size, length, heads, width // heads).transpose(1, 2) for vectors in (first, second)]
    scores = parts[0] @ parts[1].transpose(2, 3) / math.sqrt(width // heads)
    return torch.log_softmax(scores.masked_fill(~mask[:, None, None], _HIDDEN), dim=3)
