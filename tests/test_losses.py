"""Each loss against a reference in numpy that shares no code with it."""

import numpy as np
import pytest
import torch

from edgedistill.distill.losses import cross_entropy, distillation, total
from edgedistill.distill.trainer import Stage, learning_rate
from edgedistill.recipe.stages import CrossEntropy, Distillation, Losses

RNG = np.random.default_rng(0)
STUDENT, TEACHER = RNG.normal(size=(7, 5)) * 3, RNG.normal(size=(7, 5)) * 4
LABELS = RNG.integers(0, 5, 7)


def probabilities(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    powers = np.exp(logits / temperature)
    return powers / powers.sum(axis=1, keepdims=True)


def reference_ce() -> float:
    return float(np.mean([-np.log(probabilities(STUDENT)[i, label]) for i, label in enumerate(LABELS)]))


def reference_kd(temperature: float) -> float:
    p, q = probabilities(TEACHER, temperature), probabilities(STUDENT, temperature)
    return float(temperature**2 * (p * np.log(p / q)).sum(axis=1).mean())


def test_cross_entropy() -> None:
    assert float(cross_entropy(torch.tensor(STUDENT), torch.tensor(LABELS))) == pytest.approx(reference_ce())


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_distillation(temperature: float) -> None:
    found = float(distillation(torch.tensor(STUDENT), torch.tensor(TEACHER), temperature))
    assert found == pytest.approx(reference_kd(temperature))


def test_distillation_is_zero_at_the_teacher_and_finite_far_from_it() -> None:
    same = torch.tensor(TEACHER)
    assert float(distillation(same, same, 4.0)) == pytest.approx(0, abs=1e-12)
    far = distillation(torch.tensor([[1e4, 0.0]]), torch.tensor([[0.0, 1e4]]), 1.0)
    assert float(far) == pytest.approx(1e4)


def test_total_is_the_weighted_sum() -> None:
    losses = Losses(ce=CrossEntropy(weight=0.3), kd=Distillation(weight=0.7, temperature=2.0))
    found = total(losses, torch.tensor(STUDENT), torch.tensor(LABELS), torch.tensor(TEACHER))
    assert float(found) == pytest.approx(0.3 * reference_ce() + 0.7 * reference_kd(2.0))


def test_learning_rate_rises_and_falls_to_zero() -> None:
    stage = Stage("align", 1, 0.1, Losses(ce=CrossEntropy()), warmup=0.2)
    assert learning_rate(stage, 0.1) == pytest.approx(0.05)
    assert learning_rate(stage, 0.2) == pytest.approx(0.1)
    assert learning_rate(stage, 0.6) == pytest.approx(0.05)
    assert learning_rate(stage, 1.0) == pytest.approx(0, abs=1e-12)
