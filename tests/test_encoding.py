"""How answers lie in the cache where each sample has several places: the largest probabilities, and classes that were drawn."""

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from edgedistill.distill.losses import distillation
from edgedistill.recipe.stages import Cache, distill_of
from edgedistill.tasks.image_classification.recipe.losses import ClassificationLosses
from edgedistill.teach import encoding as encoding_module
from edgedistill.teach.encoding import Plain, Sampled, TopK, encoding_of

LOGITS = np.random.default_rng(0).normal(size=(6, 4, 300)).astype(np.float32) * 4
SAMPLES = np.arange(6) * 10


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def test_the_recipe_chooses() -> None:
    top, sampled = Cache(top_k=8), Cache(sampled=50)
    assert encoding_of([300], top, scores=True, seed=0) == TopK(8, 300)
    assert encoding_of([4, 300], top, scores=True, seed=0) == TopK(8, 300, (4,))
    assert encoding_of([4, 300], sampled, scores=True, seed=3) == Sampled(50, 300, 3, (4,))
    for shape, options, scores in (([4, 8], top, True), ([4, 50], sampled, True), ([4, 300], top, False), ([4, 300], sampled, False)):
        assert encoding_of(shape, options, scores=scores, seed=0) == Plain("float16", tuple(shape))


def test_both_ways_at_once_are_refused() -> None:
    with pytest.raises(ValidationError) as caught:
        Cache(top_k=8, sampled=50)
    (told,) = caught.value.errors()
    assert told["ctx"] == {"expected": "top_k or sampled, and null for the other", "found": "found top_k: 8 beside sampled: 50"}


@pytest.mark.parametrize(
    "losses", [{"kd": {"temperature": 4.0}}, {"dkd": {"temperature": 1.0}}, {"kd": {"temperature": 1.0, "standardize": True}}]
)
def test_losses_for_which_drawn_answers_are_wrong_are_refused(losses: dict[str, Any]) -> None:
    distill = distill_of(ClassificationLosses, [{"name": "align", "losses": {"ce": {}}}], {})
    fields = {"cache": {"sampled": 50}, "stages": [{"name": "align", "losses": losses}]}
    with pytest.raises(ValidationError) as caught:
        distill.model_validate(fields)
    assert "cache.top_k instead" in str(caught.value)
    distill.model_validate(fields | {"stages": [{"name": "align", "losses": {"kd": {"temperature": 1.0}, "ce": {}, "hint": {}}}]})
    distill.model_validate(fields | {"stages": [{"name": "align", "online": True, "losses": losses}]})


@pytest.mark.parametrize("at_once", [2**22, 700])
def test_top_k_of_places_is_that_of_each(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    expected = TopK(8, 300).decode(TopK(8, 300).encode(LOGITS.reshape(24, 300), np.arange(24), 0))
    monkeypatch.setattr(encoding_module, "_AT_ONCE", at_once)
    encoding = TopK(8, 300, (4,))
    rows = encoding.encode(LOGITS, SAMPLES, 0)
    assert rows.shape == (6, 4)
    assert rows.nbytes == 6 * encoding.dtype.itemsize == 24 * (8 * 2 + 9 * 2)
    assert (encoding.decode(rows) == expected.reshape(6, 4, 300)).all()
    assert softmax(encoding.decode(rows)).max(axis=-1) == pytest.approx(softmax(LOGITS).max(axis=-1), rel=5e-3)


def test_top_k_keeps_a_small_rest() -> None:
    logits = np.zeros((1, 2, 1000), np.float32)
    logits[..., 0] = 30
    rest = TopK(1, 1000, (2,)).encode(logits, np.zeros(1, int), 0)["log_p"][..., 1]
    assert rest.astype(float) == pytest.approx(np.full((1, 2), np.log(999) - 30), rel=1e-3)


def test_numbers_of_a_large_vocabulary_are_wider() -> None:
    for encoding in (TopK(2, 70_000, (1,)), Sampled(3, 70_000, 0, (1,))):
        logits = np.zeros((1, 1, 70_000), np.float32)
        logits[..., 69_999] = 50
        assert encoding.decode(encoding.encode(logits, np.zeros(1, int), 0)).argmax() == 69_999


def test_what_is_drawn_depends_on_seed_sample_and_view_alone() -> None:
    encoding = Sampled(20, 300, 7, (4,))
    rows = encoding.encode(LOGITS, SAMPLES, 1)
    assert rows.shape == (6, 4, 20)
    assert rows.nbytes == 6 * encoding.dtype.itemsize == 24 * 20 * 2
    assert (encoding.encode(LOGITS[[3, 1]], SAMPLES[[3, 1]], 1) == rows[[3, 1]]).all()
    for other in (
        encoding.encode(LOGITS, SAMPLES, 2),
        encoding.encode(LOGITS, SAMPLES + 1, 1),
        Sampled(20, 300, 8, (4,)).encode(LOGITS, SAMPLES, 1),
    ):
        assert (other != rows).any(axis=(1, 2)).all()
    same = np.broadcast_to(LOGITS[0, 0], LOGITS.shape)
    assert len({row.tobytes() for row in encoding.encode(same, SAMPLES, 1).reshape(24, 20)}) > 20, "each place has draws of its own"
    assert encoding.tag == "sampled20-seed7"


def test_parts_draw_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    encoding = Sampled(20, 300, 7, (4,))
    rows = encoding.encode(LOGITS, SAMPLES, 1)
    monkeypatch.setattr(encoding_module, "_AT_ONCE", 700)
    assert (encoding.encode(LOGITS, SAMPLES, 1) == rows).all()


def test_a_decoded_place_has_the_shares_of_what_was_drawn() -> None:
    encoding = Sampled(20, 300, 0, (4,))
    rows = encoding.encode(LOGITS, SAMPLES, 0)
    p = np.exp(encoding.decode(rows).astype(np.float64))
    for sample in range(6):
        for place in range(4):
            assert p[sample, place] == pytest.approx(np.bincount(rows[sample, place], minlength=300) / 20)


def test_draws_are_stratified_and_never_of_an_impossible_class() -> None:
    logits = np.full((200, 1, 6), -np.inf, np.float32)
    logits[..., 1], logits[..., 3] = np.log(0.3), np.log(0.7)
    encoding = Sampled(50, 6, 0, (1,))
    times = np.rint(np.exp(encoding.decode(encoding.encode(logits, np.arange(200), 0))) * 50)[:, 0]
    # 0.3 of 50 ends between two parts.
    assert (times == [0, 15, 0, 35, 0, 0]).all()
    uneven = np.log(np.array([0.31, 0.69], np.float32))
    drawn = encoding_module._classes_at(np.linspace(0, 1, 1001)[None, :-1], uneven[None])
    assert (drawn == 0).sum() in (310, 311)


def test_rounding_does_not_leave_the_row() -> None:
    logits = np.array([[0, -200, -np.inf], [-np.inf, 0, -np.inf], [-np.inf, -np.inf, 0]], np.float32)
    drawn = encoding_module._classes_at(np.tile([0, 0.5, 1.0], (3, 1)), logits)
    assert drawn.tolist() == [[0, 0, 0], [1, 1, 1], [2, 2, 2]]


def test_the_mean_gradient_of_kd_is_that_of_the_whole_distribution() -> None:
    """softmax(z) - p for z the student's logits, estimated from 4,000 seeds; that of the largest five is off by many standard errors."""
    rng, seeds, size = np.random.default_rng(1), 4000, 40
    teacher, student = (rng.normal(size=(1, size)).astype(np.float32) * scale for scale in (1.5, 1.0))

    def gradient(theirs: np.ndarray) -> np.ndarray:
        logits = torch.from_numpy(np.repeat(student, len(theirs), axis=0)).requires_grad_()
        total = distillation(logits, torch.from_numpy(theirs), 1.0) * len(theirs)
        total.backward()
        assert torch.isfinite(total)
        return logits.grad.double().numpy()

    exact = gradient(teacher)[0]
    assert exact == pytest.approx((softmax(student) - softmax(teacher))[0], abs=1e-6)
    drawn = np.concatenate(
        [encoding.decode(encoding.encode(teacher, np.zeros(1, int), 0)) for encoding in (Sampled(5, size, s) for s in range(seeds))]
    )
    found = gradient(drawn)
    error, spread = found.mean(axis=0) - exact, found.std(axis=0) / np.sqrt(seeds)
    assert np.abs(error / spread).max() < 4
    assert np.linalg.norm(found[0] - exact) > 30 * np.linalg.norm(error), "a single draw is far off"
    largest = gradient(TopK(5, size).decode(TopK(5, size).encode(teacher, np.zeros(1, int), 0)))[0]
    assert np.abs((largest - exact) / spread).max() > 20
