"""Each loss against a reference in numpy that shares no code with it."""

from typing import ClassVar

import numpy as np
import pytest
import torch

from edgedistill.distill.criterion import Criterion
from edgedistill.distill.features import attention_transfer, contrastive_distillation, hint, relational_distillation
from edgedistill.distill.lesson import Stage, learning_rate, on_one_schedule
from edgedistill.distill.losses import (
    class_calibration_error,
    correlation_distillation,
    cross_entropy,
    decoupled_distillation,
    distillation,
)
from edgedistill.recipe.losses import CrossEntropy, Distillation, Losses, Ramp
from edgedistill.tasks.data import Batch
from edgedistill.tasks.image_classification.recipe.losses import ClassificationLosses

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


def test_label_smoothing() -> None:
    target = np.full((7, 5), 0.1 / 5)
    target[np.arange(7), LABELS] += 0.9
    expected = -(target * np.log(probabilities(STUDENT))).sum(axis=1).mean()
    assert float(cross_entropy(torch.tensor(STUDENT), torch.tensor(LABELS), 0.1)) == pytest.approx(expected)


def test_standardized_distillation_ignores_shift_and_range_of_both_models() -> None:
    def z(logits: np.ndarray) -> np.ndarray:
        return np.array([(row - row.mean()) / row.std() for row in logits])

    p, q = probabilities(z(TEACHER), 2.0), probabilities(z(STUDENT), 2.0)
    expected = 4 * (p * np.log(p / q)).sum(axis=1).mean()
    found = distillation(torch.tensor(STUDENT), torch.tensor(TEACHER), 2.0, standardize=True)
    assert float(found) == pytest.approx(expected, rel=1e-5)
    moved = distillation(torch.tensor(STUDENT * 3 + 7), torch.tensor(TEACHER * 0.2 - 1), 2.0, standardize=True)
    assert float(moved) == pytest.approx(expected, rel=1e-5)


def reference_dkd(temperature: float) -> tuple[float, float]:
    p, q, target, rest = probabilities(TEACHER, temperature), probabilities(STUDENT, temperature), [], []
    for i, label in enumerate(LABELS):
        pt, qt = p[i, label], q[i, label]
        target.append(pt * np.log(pt / qt) + (1 - pt) * np.log((1 - pt) / (1 - qt)))
        others = [c for c in range(5) if c != label]
        rest.append(sum(p[i, c] / (1 - pt) * np.log(p[i, c] / (1 - pt) / (q[i, c] / (1 - qt))) for c in others))
    return temperature**2 * float(np.mean(target)), temperature**2 * float(np.mean(rest))


def test_decoupled_distillation() -> None:
    target, rest = reference_dkd(4.0)
    arguments = (torch.tensor(STUDENT), torch.tensor(TEACHER), torch.tensor(LABELS), 4.0)
    assert float(decoupled_distillation(*arguments, alpha=1, beta=8)) == pytest.approx(target + 8 * rest)
    assert float(decoupled_distillation(*arguments, alpha=1, beta=0)) == pytest.approx(target)


def test_decoupled_distillation_with_the_teachers_own_weights_is_plain_distillation() -> None:
    """The identity that the paper starts from: KD = TCKD + (1 - p_label) NCKD, sample by sample."""
    for i in range(7):
        student, teacher = torch.tensor(STUDENT[i : i + 1]), torch.tensor(TEACHER[i : i + 1])
        beta = float(1 - probabilities(TEACHER[i : i + 1])[0, LABELS[i]])
        found = decoupled_distillation(student, teacher, torch.tensor(LABELS[i : i + 1]), 1.0, alpha=1, beta=beta)
        assert float(found) == pytest.approx(float(distillation(student, teacher, 1.0)))


def test_decoupled_distillation_stays_finite_where_the_teacher_is_certain() -> None:
    student = torch.tensor([[2.0, 1.0, 0.0]], requires_grad=True)
    loss = decoupled_distillation(student, torch.tensor([[400.0, 0.0, -50.0]]), torch.tensor([0]), 1.0, alpha=1, beta=8)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(student.grad).all()


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_dist(temperature: float) -> None:
    p, q = probabilities(TEACHER, temperature), probabilities(STUDENT, temperature)
    inter = np.mean([1 - np.corrcoef(p[i], q[i])[0, 1] for i in range(7)])
    intra = np.mean([1 - np.corrcoef(p[:, j], q[:, j])[0, 1] for j in range(5)])
    found = correlation_distillation(torch.tensor(STUDENT), torch.tensor(TEACHER), temperature, inter=1, intra=0.5)
    assert float(found) == pytest.approx(temperature**2 * (inter + 0.5 * intra))
    same = torch.tensor(TEACHER)
    assert float(correlation_distillation(same, same, temperature, inter=1, intra=1)) == pytest.approx(0, abs=1e-9)


def test_calibration() -> None:
    q = probabilities(STUDENT)
    expected = np.mean([abs(q[:, j].mean() - (LABELS == j).mean()) for j in range(5)])
    assert float(class_calibration_error(torch.tensor(STUDENT), torch.tensor(LABELS))) == pytest.approx(expected)


SIGNALS = {"logits": torch.tensor(STUDENT)}
TAUGHT = {"logits": torch.tensor(TEACHER)}


def batch(labels: np.ndarray) -> Batch:
    return Batch({}, {"logits": torch.tensor(labels)})


def total(losses: ClassificationLosses, fraction: float = 0.0, labels: np.ndarray = LABELS) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    return Criterion([losses], {}, {}, samples=100)(losses, SIGNALS, batch(labels), TAUGHT, fraction)


def test_total_is_the_weighted_sum_and_tells_each_loss() -> None:
    found, values = total(ClassificationLosses(ce=CrossEntropy(weight=0.3), kd=Distillation(weight=0.7, temperature=2.0)))
    assert float(found) == pytest.approx(0.3 * reference_ce() + 0.7 * reference_kd(2.0))
    assert {name: float(value) for name, value in values.items()} == pytest.approx({"ce": reference_ce(), "kd": reference_kd(2.0)})


def test_weights_and_temperatures_ramp_over_a_stage() -> None:
    losses = ClassificationLosses(ce=CrossEntropy(weight=Ramp(start=0.0, end=1.0)), kd=Distillation(temperature=Ramp(start=8.0, end=2.0)))
    for fraction, weight, temperature in ((0.0, 0.0, 8.0), (0.5, 0.5, 5.0), (1.0, 1.0, 2.0)):
        found, _ = total(losses, fraction)
        assert float(found) == pytest.approx(weight * reference_ce() + reference_kd(temperature))


def test_samples_without_a_label_are_taught_by_the_teacher_alone() -> None:
    losses = ClassificationLosses(ce=CrossEntropy(), kd=Distillation(temperature=2.0))
    labels = np.where(np.arange(7) < 3, LABELS, -1)
    _, values = total(losses, labels=labels)
    expected = np.mean([-np.log(probabilities(STUDENT)[i, LABELS[i]]) for i in range(3)])
    assert {name: float(value) for name, value in values.items()} == pytest.approx({"ce": expected, "kd": reference_kd(2.0)})
    _, values = total(losses, labels=np.full(7, -1))
    assert float(values["ce"]) == 0


class TagLoss(CrossEntropy):
    """Cross-entropy of another output than `logits`."""

    signal: ClassVar[str] = "tags"


class TagDistillation(Distillation):
    signal: ClassVar[str] = "tags"


class TagLosses(Losses):
    ce: TagLoss | None = None
    kd: TagDistillation | None = None


def test_positions_that_do_not_count_and_those_without_a_target_are_left_out() -> None:
    student, teacher = RNG.normal(size=(3, 4, 5)), RNG.normal(size=(3, 4, 5))
    tags, mask = RNG.integers(0, 5, (3, 4)), RNG.random((3, 4)) < 0.7
    tags[0, :2] = -1
    shown = Batch({}, {"tags": torch.tensor(tags)}, {"tags": torch.tensor(mask)})
    losses = TagLosses(ce=TagLoss(), kd=TagDistillation(temperature=2.0))
    signals = [{"tags": torch.tensor(values), "embedding": torch.zeros(3, 2)} for values in (student, teacher)]
    _, values = Criterion([losses], {}, {}, samples=100)(losses, signals[0], shown, signals[1])
    known = mask & (tags >= 0)
    assert 0 < known.sum() < mask.sum() < mask.size
    p = probabilities(student[known])
    assert float(values["ce"]) == pytest.approx(-np.log(p[np.arange(len(p)), tags[known]]).mean())
    assert float(values["kd"]) == pytest.approx(float(distillation(*(torch.tensor(x[mask]) for x in (student, teacher)), 2.0)))
    whole = Batch({}, {"tags": torch.tensor(np.full((3, 4), -1))})
    _, values = Criterion([losses], {}, {}, samples=100)(losses, signals[0], whole, signals[1])
    assert float(values["ce"]) == 0
    flat = [torch.tensor(x.reshape(12, 5)) for x in (student, teacher)]
    assert float(values["kd"]) == pytest.approx(float(distillation(*flat, 2.0)))


def features(seed: int, channels: int, side: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(7, channels, side, side)).astype(np.float32)


def test_hint() -> None:
    a, b = features(1, 3, 4), features(2, 3, 4)
    assert float(hint(torch.tensor(a), torch.tensor(b))) == pytest.approx(0.5 * ((a - b) ** 2).mean(), rel=1e-5)


def test_attention_transfer() -> None:
    def attention(maps: np.ndarray) -> np.ndarray:
        flat = (maps**2).sum(axis=1).reshape(7, -1)
        return flat / np.sqrt((flat**2).sum(axis=1, keepdims=True))

    a, b = features(1, 3, 4), features(2, 5, 4)
    expected = ((attention(a) - attention(b)) ** 2).sum(axis=1).mean()
    assert float(attention_transfer(torch.tensor(a), torch.tensor(b))) == pytest.approx(expected, rel=1e-5)
    assert float(attention_transfer(torch.tensor(a), torch.tensor(3 * a))) == pytest.approx(0, abs=1e-6)


def huber(x: np.ndarray) -> np.ndarray:
    return np.where(np.abs(x) < 1, 0.5 * x**2, np.abs(x) - 0.5)


def test_relational_distillation() -> None:
    a, b = features(1, 3, 1)[:, :, 0, 0].astype(np.float64), features(2, 6, 1)[:, :, 0, 0].astype(np.float64)

    def distances(x: np.ndarray) -> np.ndarray:
        found = np.array([np.linalg.norm(x[i] - x[j]) for i in range(7) for j in range(i + 1, 7)])
        return found / found.mean()

    def angles(x: np.ndarray) -> np.ndarray:
        def unit(v: np.ndarray) -> np.ndarray:
            return v / max(np.linalg.norm(v), 1e-12)

        return np.array([[[unit(x[j] - x[i]) @ unit(x[k] - x[i]) for k in range(7)] for j in range(7)] for i in range(7)])

    pairs, triplets = huber(distances(a) - distances(b)).mean(), huber(angles(a) - angles(b)).mean()
    tensors = torch.tensor(a), torch.tensor(b)
    assert float(relational_distillation(*tensors, distance=1, angle=0)) == pytest.approx(pairs)
    assert float(relational_distillation(*tensors, distance=0, angle=1)) == pytest.approx(triplets)
    moved = torch.tensor(3 * a + 5)
    assert float(relational_distillation(tensors[0], moved, distance=1, angle=1)) == pytest.approx(0, abs=1e-9)


def test_contrastive_distillation() -> None:
    a, b = features(1, 4, 1)[:, :, 0, 0].astype(np.float64), features(2, 4, 1)[:, :, 0, 0].astype(np.float64)
    negatives = [(i, j) for i in range(7) for j in range(7) if LABELS[i] != LABELS[j]]
    ratio = len(negatives) / 7 / 100

    def h(i: int, j: int) -> float:
        e = np.exp(a[i] @ b[j] / np.linalg.norm(a[i]) / np.linalg.norm(b[j]) / 0.5)
        return e / (e + ratio)

    expected = -(sum(np.log(h(i, i)) for i in range(7)) + sum(np.log(1 - h(i, j)) for i, j in negatives)) / 7
    found = contrastive_distillation(torch.tensor(a), torch.tensor(b), torch.tensor(LABELS), temperature=0.5, samples=100)
    assert float(found) == pytest.approx(expected)


def test_every_loss_of_a_recipe_is_computed_and_has_a_gradient() -> None:
    maps = {"features": torch.tensor(features(1, 3, 4)), "embedding": torch.tensor(features(2, 6, 1)[:, :, 0, 0])}
    theirs = {"features": torch.tensor(features(3, 5, 2)), "embedding": torch.tensor(features(4, 8, 1)[:, :, 0, 0])} | TAUGHT
    for name in ClassificationLosses.model_fields:
        losses = ClassificationLosses.model_validate({"ce": {}, name: {}})
        student = {key: value.clone().requires_grad_() for key, value in (SIGNALS | maps).items()}
        criterion = Criterion([losses], student, theirs, samples=100)
        loss, values = criterion(losses, student, batch(LABELS), theirs)
        loss.backward()
        assert set(values) == {"ce", name}
        for signal in losses.watches | {"logits"}:
            assert student[signal].grad.abs().sum() > 0, (name, signal)
        assert all(p.grad.abs().sum() > 0 for p in criterion.parameters()), name


def test_learning_rate_rises_and_falls_to_zero() -> None:
    stage = Stage("align", 1, 0.1, ClassificationLosses(ce=CrossEntropy()), warmup=0.2)
    assert learning_rate(stage, 0.1) == pytest.approx(0.05)
    assert learning_rate(stage, 0.2) == pytest.approx(0.1)
    assert learning_rate(stage, 0.6) == pytest.approx(0.05)
    assert learning_rate(stage, 1.0) == pytest.approx(0, abs=1e-12)


def test_stages_on_one_schedule_share_its_warm_up_and_its_cosine() -> None:
    losses = ClassificationLosses(ce=CrossEntropy())
    whole = Stage("align", 10, 0.1, losses)
    first, second = on_one_schedule([Stage("align", 4, 0.1, losses), Stage("finetune", 6, 0.05, losses)])
    for fraction in (0.1, 0.5, 1.0):
        assert learning_rate(first, fraction) == pytest.approx(learning_rate(whole, 0.4 * fraction))
        assert learning_rate(second, fraction) == pytest.approx(learning_rate(whole, 0.4 + 0.6 * fraction) / 2, abs=1e-12)
