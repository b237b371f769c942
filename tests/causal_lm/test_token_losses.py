"""Each loss of language models against a reference in numpy that shares no code with it, whole and in chunks."""

import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from edgedistill.distill.criterion import Criterion
from edgedistill.distill.formulas import Compared
from edgedistill.distill.losses import distillation
from edgedistill.errors import UserError
from edgedistill.recipe.losses import Loss
from edgedistill.tasks.causal_lm import losses
from edgedistill.tasks.causal_lm.loss_configs import (
    HiddenStates,
    JensenShannon,
    ReverseDivergence,
    SkewedDivergence,
    TokenCrossEntropy,
    TokenDistillation,
    TokenLosses,
    UniversalLogits,
)
from edgedistill.tasks.data import Batch

RNG = np.random.default_rng(0)
ROWS, VOCABULARY = 9, 13
STUDENT, TEACHER = RNG.normal(size=(ROWS, VOCABULARY)) * 3, RNG.normal(size=(ROWS, VOCABULARY)) * 4
TOKENS = RNG.integers(0, VOCABULARY, ROWS)
FORMULAS = {
    TokenCrossEntropy: losses.cross_entropy,
    TokenDistillation: losses.distillation,
    ReverseDivergence: losses.reverse_divergence,
    JensenShannon: losses.jensen_shannon,
    SkewedDivergence: losses.skewed_divergence,
    UniversalLogits: losses.universal_logits,
}
EVERY: list[Loss] = [
    TokenCrossEntropy(),
    TokenCrossEntropy(label_smoothing=0.1),
    TokenDistillation(),
    TokenDistillation(temperature=2.0, standardize=True),
    ReverseDivergence(),
    JensenShannon(beta=0.3),
    SkewedDivergence(),
    SkewedDivergence(direction="reverse"),
    UniversalLogits(),
]


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def kl(p: np.ndarray, q: np.ndarray) -> float:
    return float((p * np.log(p / q)).sum(axis=1).mean())


def compared(student: Mapping[str, Tensor], teacher: Mapping[str, Tensor], learned: dict[str, nn.Module] | None = None) -> Compared:
    return Compared(student, teacher, torch.tensor(TOKENS), 0.0, nn.ModuleDict(learned or {}), "it", 100)


def value(loss: Loss, student: np.ndarray | Tensor = STUDENT, teacher: np.ndarray | Tensor = TEACHER) -> Tensor:
    ours, theirs = torch.as_tensor(student), torch.as_tensor(teacher)
    return FORMULAS[type(loss)](loss, compared({"logits": ours}, {"logits": theirs, "sorted": theirs.softmax(1).sort(descending=True)[0]}))


def test_cross_entropy() -> None:
    q = softmax(STUDENT)
    assert float(value(TokenCrossEntropy())) == pytest.approx(-np.log(q[np.arange(ROWS), TOKENS]).mean())
    target = np.full_like(q, 0.1 / VOCABULARY)
    target[np.arange(ROWS), TOKENS] += 0.9
    assert float(value(TokenCrossEntropy(label_smoothing=0.1))) == pytest.approx(-(target * np.log(q)).sum(axis=1).mean())


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_forward_divergence(temperature: float) -> None:
    expected = temperature**2 * kl(softmax(TEACHER / temperature), softmax(STUDENT / temperature))
    assert float(value(TokenDistillation(temperature=temperature))) == pytest.approx(expected)


def test_a_standardized_divergence_is_that_of_classifiers() -> None:
    expected = distillation(torch.tensor(STUDENT), torch.tensor(TEACHER), 2.0, standardize=True)
    assert float(value(TokenDistillation(temperature=2.0, standardize=True))) == pytest.approx(float(expected))


def test_reverse_divergence() -> None:
    assert float(value(ReverseDivergence())) == pytest.approx(kl(softmax(STUDENT), softmax(TEACHER)))


def test_jensen_shannon() -> None:
    p, q = softmax(TEACHER), softmax(STUDENT)
    mixed = 0.3 * p + 0.7 * q
    assert float(value(JensenShannon(beta=0.3))) == pytest.approx(0.3 * kl(p, mixed) + 0.7 * kl(q, mixed))


def test_jensen_shannon_tends_to_both_divergences_as_the_paper_scales_it() -> None:
    near = 1e-10
    forward, reverse = value(JensenShannon(beta=near)) / near, value(JensenShannon(beta=1 - near)) / near
    assert float(forward) == pytest.approx(float(value(TokenDistillation())), rel=1e-4)
    assert float(reverse) == pytest.approx(float(value(ReverseDivergence())), rel=1e-4)


def test_skewed_divergences() -> None:
    p, q = softmax(TEACHER), softmax(STUDENT)
    assert float(value(SkewedDivergence(alpha=0.2))) == pytest.approx(kl(p, 0.2 * p + 0.8 * q))
    assert float(value(SkewedDivergence(alpha=0.2, direction="reverse"))) == pytest.approx(kl(q, 0.8 * p + 0.2 * q))


@pytest.mark.parametrize("size", [5, VOCABULARY, 20])
def test_universal_logits_compares_ranks_and_pads_the_smaller_vocabulary(size: int) -> None:
    theirs = -np.sort(-softmax(RNG.normal(size=(ROWS, 20)) * 4), axis=1)[:, :size]
    padded = np.zeros((2, ROWS, 20))
    padded[0, :, :size], padded[1, :, :VOCABULARY] = theirs, -np.sort(-softmax(STUDENT), axis=1)
    found = losses.universal_logits(UniversalLogits(), compared({"logits": torch.tensor(STUDENT)}, {"sorted": torch.tensor(theirs)}))
    assert float(found) == pytest.approx(np.abs(padded[0] - padded[1]).sum(axis=1).mean())


@pytest.mark.parametrize("loss", [loss for loss in EVERY if not isinstance(loss, TokenCrossEntropy)], ids=repr)
def test_a_student_like_its_teacher_has_no_loss_and_no_gradient(loss: Loss) -> None:
    student = torch.tensor(TEACHER, requires_grad=True)
    found = value(loss, student, TEACHER)
    found.backward()
    assert float(found.detach()) == pytest.approx(0, abs=1e-9)
    assert student.grad is not None
    # At 0 the absolute differences of uld have a kink, whose gradient is one of many.
    assert isinstance(loss, UniversalLogits) or student.grad.abs().max() < 1e-9


@pytest.mark.parametrize("loss", EVERY, ids=repr)
def test_a_gradient_is_that_of_finite_differences(loss: Loss) -> None:
    assert torch.autograd.gradcheck(lambda student: value(loss, student), torch.tensor(STUDENT, requires_grad=True))


@pytest.mark.parametrize("loss", EVERY, ids=repr)
def test_chunks_give_the_same_value_and_gradient(loss: Loss, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for at_once in (2**22, VOCABULARY * 2, 1):
        monkeypatch.setattr(losses, "AT_ONCE", at_once)
        student = torch.tensor(STUDENT, dtype=torch.float32, requires_grad=True)
        total = value(loss, student, TEACHER.astype(np.float32))
        (0.7 * total).backward()
        found.append((total.detach(), student.grad))
    for total, gradient in found[1:]:
        assert torch.equal(total, found[0][0])
        assert torch.equal(gradient, found[0][1])


def test_chunks_are_small_and_nothing_of_them_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "AT_ONCE", VOCABULARY * 4)
    seen: list[int] = []
    kept: list[Tensor] = []

    def rows(ours: Tensor, theirs: Tensor) -> Tensor:
        seen.append(len(ours))
        return (ours.softmax(1) * theirs).sum(dim=1)

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    student, teacher = torch.tensor(STUDENT, requires_grad=True), torch.tensor(TEACHER)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        total = losses.mean_over_rows(rows, student, teacher)
    assert [tensor.data_ptr() for tensor in kept] == [student.data_ptr(), teacher.data_ptr()]
    total.backward()
    assert seen == [4, 4, 1, 4, 4, 1]


def test_a_token_without_probability_leaves_losses_finite() -> None:
    teacher = TEACHER.astype(np.float32)
    teacher[:, :3] = -np.inf
    for loss in EVERY:
        student = torch.tensor(STUDENT, dtype=torch.float32, requires_grad=True)
        # The mean of logits with -inf among them is none.
        if getattr(loss, "standardize", False):
            continue
        found = value(loss, student, teacher)
        found.backward()
        assert torch.isfinite(found), loss
        assert torch.isfinite(student.grad).all(), loss


def test_another_vocabulary_is_refused() -> None:
    with pytest.raises(UserError, match=r"found logits of 13 tokens of the student and 12 of the teacher, expected one vocabulary"):
        value(ReverseDivergence(), teacher=TEACHER[:, :12])


def test_hidden_states_are_compared_through_a_linear_map() -> None:
    loss = HiddenStates(layer="a", teacher_layer="b")
    ours, theirs = (torch.randn(2, 5, width, generator=torch.manual_seed(0)) for width in (4, 6))
    learned = losses.linear_map(loss, {"features:a": ours}, {"features:b": theirs})[""]
    assert isinstance(learned, nn.Linear)
    rows = [values.flatten(0, 1) for values in (ours, theirs)]
    found = losses.hidden_states(loss, compared({"features:a": rows[0]}, {"features:b": rows[1]}, {"it": learned}))
    weight, bias = learned.weight.detach().numpy(), learned.bias.detach().numpy()
    assert float(found.detach()) == pytest.approx(0.5 * np.square(rows[0].numpy() @ weight.T + bias - rows[1].numpy()).mean())
    found.backward()
    assert learned.weight.grad is not None
    with pytest.raises(UserError, match=r"hidden: found results of shape \[2, 5\] of a"):
        losses.linear_map(loss, {"features:a": ours[..., 0]}, {"features:b": theirs})


def test_a_criterion_compares_the_positions_that_count() -> None:
    used = TokenLosses(ce=TokenCrossEntropy(weight=2.0), kd=TokenDistillation(), jsd=JensenShannon())
    student, teacher = (torch.tensor(logits.reshape(3, 3, VOCABULARY)) for logits in (STUDENT, TEACHER))
    counts = torch.tensor([[True, True, False], [False, True, True], [False, False, False]])
    tokens = torch.tensor(TOKENS.reshape(3, 3)).masked_fill(~counts, -1)
    criterion = Criterion([used], {"logits": student}, {"logits": teacher}, 100)
    batch = Batch({}, {"logits": tokens}, {"logits": counts})
    total, values = criterion(used, {"logits": student}, batch, {"logits": teacher})
    at = np.flatnonzero(counts.flatten())
    p, q = softmax(TEACHER[at]), softmax(STUDENT[at])
    expected = [-np.log(q[np.arange(4), TOKENS[at]]).mean(), kl(p, q), (kl(p, (p + q) / 2) + kl(q, (p + q) / 2)) / 2]
    assert [float(part) for part in values.values()] == pytest.approx(expected)
    assert float(total) == pytest.approx(2 * expected[0] + expected[1] + expected[2])


def test_a_criterion_takes_hidden_states_and_sorted_probabilities_of_the_positions_that_count() -> None:
    used = TokenLosses(uld=UniversalLogits(), hidden=HiddenStates(layer="a", teacher_layer="b"))
    draw = torch.Generator().manual_seed(0)
    counts = torch.tensor([[True, True, False], [False, True, True]])
    student = {"logits": torch.randn(2, 3, VOCABULARY, generator=draw), "features:a": torch.randn(2, 3, 4, generator=draw)}
    teacher = {"sorted": torch.rand(2, 3, 5, generator=draw), "features:b": torch.randn(2, 3, 6, generator=draw)}
    criterion = Criterion([used], student, teacher, 100)

    def values(student: dict[str, Tensor], teacher: dict[str, Tensor], mask: dict[str, Tensor]) -> list[float]:
        return [float(part) for part in criterion(used, student, Batch({}, {}, mask), teacher)[1].values()]

    found = values(student, teacher, {"logits": counts})
    rows = [{name: signal[counts] for name, signal in signals.items()} for signals in (student, teacher)]
    assert found == pytest.approx(values(*rows, {}))
    wrong = {name: signal + 9 * ~counts[..., None] for name, signal in student.items()}
    assert values(wrong, teacher, {"logits": counts}) == pytest.approx(found), "the others have no say"
    every = (
        {name: signal.flatten(0, 1) for name, signal in student.items()},
        {name: signal.flatten(0, 1) for name, signal in teacher.items()},
    )
    assert values(student, teacher, {}) == pytest.approx(values(*every, {}))


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"uld": {}}, "expected at least one of ce, kd, reverse_kl, jsd, skew and hidden with a weight above 0"),
        ({"jsd": {"beta": 0.0}}, "greater than 0"),
        ({"jsd": {"beta": 1.0}}, "less than 1"),
        ({"skew": {"direction": "both"}}, "'forward' or 'reverse'"),
        ({"hidden": {"layer": "a"}}, "Field required"),
    ],
)
def test_mistakes_are_told(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        TokenLosses.model_validate(fields)


def test_what_losses_need() -> None:
    used = TokenLosses.model_validate({"ce": {}, "uld": {}, "hidden": {"layer": "a", "teacher_layer": "b"}})
    assert used.needs == {"sorted", "features:b"}
    assert used.watches == {"features:a"}


def test_configs_load_without_torch() -> None:
    code = "import sys, edgedistill.tasks.causal_lm.loss_configs; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
