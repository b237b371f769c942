"""Losses that compare what models compute on the way to their logits."""

import torch
from torch import Tensor
from torch.nn import functional as F


def hint(projected: Tensor, teacher: Tensor) -> Tensor:
    """Half the squared difference of two feature maps, averaged over all their elements.

    projected: the student's map after the projector, teacher: the teacher's, both [B, C, H, W].
    Romero et al. 2015 (arXiv 1412.6550), equation 3; the mean instead of the sum makes the weight independent of the map's size.
    """
    return 0.5 * F.mse_loss(projected, teacher)


def attention_transfer(features: Tensor, teacher_features: Tensor) -> Tensor:
    """|| a / |a| - b / |b| ||^2, averaged over the batch, where a and b are the maps of sum over channels of squared activations.

    features [B, C, H, W] and teacher_features [B, D, H, W]. Zagoruyko and Komodakis 2017 (arXiv 1612.03928), with the squared distance.
    """
    return (_attention(features) - _attention(teacher_features)).square().sum(dim=1).mean()


def _attention(features: Tensor) -> Tensor:
    return F.normalize(features.square().sum(dim=1).flatten(1), dim=1)


def relational_distillation(embedding: Tensor, teacher_embedding: Tensor, *, distance: float, angle: float) -> Tensor:
    """distance * L_D + angle * L_A over the samples of a batch, with Huber's loss (delta 1).

    L_D: of the distances of all pairs, divided by their mean. L_A: of the cosines of the angles of all triplets.
    embedding [B, D], teacher_embedding [B, E]. Park et al. 2019 (arXiv 1904.05068).
    """
    pairs = F.smooth_l1_loss(_distances(embedding), _distances(teacher_embedding))
    return distance * pairs + angle * F.smooth_l1_loss(_angles(embedding), _angles(teacher_embedding))


def _distances(embedding: Tensor) -> Tensor:
    distances = torch.pdist(embedding)
    return distances / distances.mean().clamp_min(1e-7)


def _angles(embedding: Tensor) -> Tensor:
    """Cosines [B, B, B]: at vertex i, between the directions to j and k."""
    directions = F.normalize(embedding[None] - embedding[:, None], dim=2)
    return directions @ directions.transpose(1, 2)


def contrastive_distillation(ours: Tensor, theirs: Tensor, labels: Tensor, *, temperature: float, samples: int) -> Tensor:
    """-log h of each sample's own pair, and -log(1 - h) of its pairs with samples of other classes: summed, averaged over the batch.

    h = e^s / (e^s + N / M), where s is the cosine of two projected embeddings divided by the temperature, N the mean number of
    negatives and M the number of training samples. ours (student) and theirs (teacher): projected embeddings [B, D]; labels int64 [B].
    Tian et al. 2020 (arXiv 1910.10699), equations 17 to 19. Negatives are those of the batch, in both directions at once, instead of a
    memory of older projections.
    """
    scores = F.normalize(ours, dim=1) @ F.normalize(theirs, dim=1).T / temperature
    negative = labels[:, None] != labels[None]
    bias = torch.log(negative.sum().clamp_min(1) / (len(labels) * samples))
    # log h = s - log(e^s + N/M) = -softplus(bias - s), and log(1 - h) = -softplus(s - bias).
    positives = F.softplus(bias - scores.diagonal()).mean()
    return positives + (F.softplus(scores - bias) * negative).sum() / len(labels)
