"""The parity rules at their boundaries, the intervals against published figures, and the calibration error."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from torchmetrics.functional.classification import multiclass_calibration_error

from edgedistill import tasks
from edgedistill.records import ArtifactSpec
from edgedistill.tasks.classification.calibration_error import calibration_error
from edgedistill.tasks.intervals import paired_difference, wilson
from edgedistill.verify import judge
from edgedistill.verify.helped import verdict
from edgedistill.verify.parity import DYNAMIC_LIMIT, FLOAT_LIMITS, INT16_LIMIT, float_parity, quantized_parity, rounding_parity

LSB = 0.25


def _logits(samples: int, classes: int = 10) -> np.ndarray:
    """Multiples of LSB whose largest is 20 steps above the rest, so that small shifts flip nothing."""
    steps = np.random.default_rng(0).integers(-40, 0, (samples, classes))
    steps[np.arange(samples), np.arange(samples) % classes] = 20
    return (steps * LSB).astype(np.float32)


def _shifted(logits: np.ndarray, outputs: int, steps: float) -> np.ndarray:
    """The first `outputs` values of each sample's non-winning classes, counted over all samples, moved down."""
    moved = logits.copy()
    losing = np.argwhere(logits < 0)[:outputs]
    moved[losing[:, 0], losing[:, 1]] -= np.float32(steps * LSB)
    return moved


def largest(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    return outputs["scores"].argmax(axis=1)


def flips(a: np.ndarray, b: np.ndarray) -> int | None:
    return judge.flips({"scores": a}, {"scores": b}, largest)


def test_equal_outputs_are_exact() -> None:
    a = _logits(50)
    parity = quantized_parity(a, a.copy(), LSB, flips(a, a.copy()))
    assert parity.ok
    assert (parity.max_lsb, parity.mean_lsb, parity.exact, parity.within_2_lsb, parity.flips) == (0, 0, 1, 1, 0)
    assert parity.n == 50


@pytest.mark.parametrize(("outputs", "ok"), [(5, True), (6, False)])
def test_at_most_half_a_percent_of_the_outputs_may_be_beyond_2_lsb(outputs: int, ok: bool) -> None:
    a = _logits(100)
    parity = quantized_parity(_shifted(a, outputs, 3), a, LSB)
    assert parity.ok is ok, parity
    assert parity.max_lsb == pytest.approx(3)
    assert parity.within_2_lsb == pytest.approx(1 - outputs / 1000)


def test_two_lsb_are_within_and_three_are_not() -> None:
    a = _logits(100)
    assert quantized_parity(_shifted(a, 100, 2), a, LSB).within_2_lsb == 1
    assert quantized_parity(_shifted(a, 100, 3), a, LSB).within_2_lsb == pytest.approx(0.9)


@pytest.mark.parametrize(("outputs", "ok"), [(290, True), (310, False)])
def test_the_mean_is_at_most_0_3_lsb(outputs: int, ok: bool) -> None:
    a = _logits(100)
    parity = quantized_parity(_shifted(a, outputs, 1), a, LSB)
    assert parity.ok is ok, parity
    assert parity.mean_lsb == pytest.approx(outputs / 1000)
    assert parity.exact == pytest.approx(1 - outputs / 1000)


@pytest.mark.parametrize(("samples", "flipped", "ok"), [(100, 2, True), (100, 3, False), (1000, 3, True), (1000, 4, False)])
def test_flips_are_at_most_two_or_0_3_percent(samples: int, flipped: int, ok: bool) -> None:
    a = _logits(samples)
    a[:flipped] = -LSB * 10
    b = a.copy()
    # One step decides which class wins: no other rule sees it.
    a[:flipped, 0] += LSB
    b[:flipped, 1] += LSB
    parity = quantized_parity(a, b, LSB, flips(a, b))
    assert parity.flips == flipped
    assert parity.ok is ok, parity


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_broken_output_on_either_side_is_a_reason(value: float, swap: bool) -> None:
    a, b = _logits(10), _logits(10)
    a[3, 4] = value
    left, right = (b, a) if swap else (a, b)
    for parity in (quantized_parity(left, right, LSB), float_parity(left, right, relative_limit=1e-4)):
        assert parity.ok is False
        assert "1 of 100" in parity.reason
        assert parity.max_lsb is None
        assert parity.max_abs is None


def test_other_shapes_are_a_reason() -> None:
    parity = quantized_parity(_logits(10), _logits(9), LSB)
    assert parity.ok is False
    assert "(10, 10)" in parity.reason
    assert "(9, 10)" in parity.reason
    assert float_parity(_logits(10), _logits(10, 9), relative_limit=1).ok is False


@pytest.mark.parametrize(("relative", "ok"), [(0.9e-4, True), (1.1e-4, False)])
def test_float_outputs_may_differ_by_a_share_of_the_largest_logit(relative: float, ok: bool) -> None:
    reference = np.array([[1.0, -8.0, 2.0], [3.0, 0.0, 1.0]])
    outputs = reference.copy()
    outputs[1, 1] += 8 * relative
    parity = float_parity(outputs, reference, relative_limit=1e-4, flips=flips(outputs, reference))
    assert parity.ok is ok, parity
    assert parity.relative == pytest.approx(relative)
    assert parity.max_abs == pytest.approx(8 * relative)
    assert (parity.flips, parity.n) == (0, 2)


def test_float_flips_of_near_ties_are_reported_and_not_judged() -> None:
    reference = np.tile([[1.0, 1.0 - 1e-6, 0.0]], (3, 1))
    outputs = np.tile([[1.0 - 1e-6, 1.0, 0.0]], (3, 1))
    parity = float_parity(outputs, reference, relative_limit=1e-4, flips=flips(outputs, reference))
    assert parity.flips == 3
    assert parity.ok


@pytest.mark.parametrize(("limit", "differing", "ok"), [(1e-4, 0, True), (1e-4, 2, False), (1e-2, 5, True), (1e-2, 6, False)])
def test_whole_numbers_may_differ_for_few_samples_however_far(limit: float, differing: int, ok: bool) -> None:
    places = np.zeros((100, 3), np.int64)
    found = places.astype(np.float32)
    found[:differing, 1] = 900
    parity = float_parity(found, places, relative_limit=limit)
    assert (parity.ok, parity.flips) == (ok, differing)
    assert not float_parity(found[:, :2], places, relative_limit=limit).ok
    assert not float_parity(np.where(found == 0, np.nan, found), places, relative_limit=limit).ok


def test_a_reference_of_zeros_has_no_relative_difference() -> None:
    zeros = np.zeros((2, 3))
    assert float_parity(zeros, zeros, relative_limit=1e-4).ok
    parity = float_parity(zeros + 1e-9, zeros, relative_limit=1e-4)
    assert not parity.ok
    assert parity.relative is None


def test_every_pair_is_compared_once() -> None:
    a = _logits(100)
    outputs = {name: {"scores": values} for name, values in {"x": a, "y": a.copy(), "z": _shifted(a, 310, 1)}.items()}
    found = judge.pairs(outputs, {"scores": LSB}, largest)
    assert [(a, b, one.ok) for (a, b), one in found.items()] == [("x", "y", True), ("x", "z", False), ("y", "z", False)]


def test_of_several_outputs_all_are_judged_and_the_worst_is_named() -> None:
    scores, boxes = _logits(100), _logits(100, 4)
    expected = {"scores": scores, "boxes": boxes}
    spec, scales = ArtifactSpec("onnx", "int8"), {"scores": LSB, "boxes": LSB}
    fine = judge.verdict(spec, dict(expected), expected, scales=scales, decide=largest)
    assert (fine.ok, fine.reference, sorted(fine.outputs)) == (True, "integer", ["boxes", "scores"])
    wrong = judge.verdict(spec, {"scores": scores, "boxes": boxes + 3 * LSB}, expected, scales=scales, decide=largest)
    assert (wrong.ok, wrong.output, wrong.max_lsb) == (False, "boxes", 3)
    assert wrong.outputs["scores"].ok
    # A decision that flips fails the artifact, whichever output it comes from.
    moved = scores.copy()
    moved[:3] = np.roll(moved[:3], 1, axis=1)
    assert judge.flips({"scores": moved, "boxes": boxes}, expected, largest) == 3
    missing = judge.verdict(spec, {"scores": scores}, expected, scales=scales, decide=largest)
    assert (missing.ok, missing.output) == (False, "boxes")
    assert "found the outputs scores, expected boxes" in missing.reason
    assert judge.verdict(spec, None, expected, scales=scales).unavailable == "no outputs of integer to compare with"


@pytest.mark.parametrize(
    ("spec", "rung", "limit"),
    [
        (ArtifactSpec("executorch", "int8"), "integer", None),
        (ArtifactSpec("coreml", "int8"), "converted", None),
        (ArtifactSpec("executorch", "int8", delegate="coreml"), "converted", None),
        (ArtifactSpec("executorch", "int8", delegate="vulkan"), "integer", None),
        (ArtifactSpec("onnx", "int8-static"), "int8-static-integer", None),
        (ArtifactSpec("ort", "int8-dynamic"), "int8-dynamic-tensors", DYNAMIC_LIMIT),
        (ArtifactSpec("litert", "int8-dynamic"), "int8-dynamic", DYNAMIC_LIMIT),
        (ArtifactSpec("litert", "int16x8"), "int16x8", INT16_LIMIT),
        (ArtifactSpec("coreml", "int8-weights"), "int8-weights", FLOAT_LIMITS["fp16"]),
        (ArtifactSpec("onnx", "fp32", "teacher"), "teacher", FLOAT_LIMITS["fp32"]),
    ],
)
def test_the_reference_and_the_limit_follow_from_the_backend(spec: ArtifactSpec, rung: str, limit: float | None) -> None:
    assert (judge.reference(spec), judge.limit(spec)) == (rung, limit)


@pytest.mark.parametrize(("correct", "n", "low", "high"), [(0, 20, 0.0, 0.1611), (81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605)])
def test_wilson_gives_the_published_intervals(correct: int, n: int, low: float, high: float) -> None:
    """Newcombe 1998, "Two-sided confidence intervals for the single proportion", Statistics in Medicine 17, table I, method 3."""
    assert wilson(correct, n) == pytest.approx((low, high), abs=1e-4)
    # By symmetry, what is wrong has the mirrored interval.
    assert wilson(n - correct, n) == pytest.approx((1 - high, 1 - low), abs=1e-4)


def _right(both: int, only_a: int, only_b: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    counts = [both, only_a, only_b, neither]
    return np.repeat([True, True, False, False], counts), np.repeat([True, False, True, False], counts)


def test_the_paired_interval_is_the_wald_interval_with_half_a_sample_more_in_each_cell() -> None:
    a, b = _right(794, 150, 86, 570)
    difference, low, high = paired_difference(a, b)
    p, q, n = 150.5 / 1602, 86.5 / 1602, 1602
    half = 1.959964 * np.sqrt((p + q - (p - q) ** 2) / n)
    assert difference == pytest.approx(64 / 1600)
    assert (low, high) == pytest.approx((p - q - half, p - q + half))
    assert [-v for v in paired_difference(b, a)] == pytest.approx([difference, high, low])


def test_the_paired_interval_covers_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        cells = generator.multinomial(200, [0.85, 0.07, 0.03, 0.05])
        _, low, high = paired_difference(*_right(*cells))
        covered += low <= 0.04 <= high
    assert 0.92 <= covered / 400 <= 0.98


def test_the_paired_interval_has_a_width_without_discordant_samples() -> None:
    _, low, high = paired_difference(*_right(100, 0, 0, 0))
    assert low < 0 < high
    with pytest.raises(ValueError, match="one length"):
        paired_difference(np.ones(3, bool), np.ones(4, bool))


@pytest.mark.parametrize(
    ("cells", "outcome", "words"),
    [
        ((300, 40, 10, 10), "helped", "the student is 8.3 points more accurate than the control"),
        ((300, 10, 40, 10), "hurt", "the student is 8.3 points less accurate than the control"),
        ((330, 11, 10, 9), "no_difference", "student minus control is +0.3 points"),
    ],
)
def test_the_verdict_in_words(cells: tuple[int, int, int, int], outcome: str, words: str) -> None:
    student, control = _right(*cells)
    found = verdict(tasks.task("image-classification"), student, control).model_dump()
    assert found["outcome"] == outcome
    assert words in found["text"]
    assert "360 validation images" in found["text"]
    assert ("ship the control" in found["text"].lower()) == (outcome == "hurt")
    difference, low, high = paired_difference(student, control)
    assert (found["difference"], found["interval"], found["n"]) == (difference, (low, high), 360)


def test_the_bins_reproduce_the_calibration_error() -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, (500, 4))
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = np.where(generator.random(500) < 0.7, probabilities.argmax(1), generator.integers(0, 4, 500))
    found = calibration_error(probabilities, labels)
    filled = [row for row in found["bins"] if row["count"]]
    assert sum(row["count"] for row in found["bins"]) == 500
    assert len(found["bins"]) == 15
    scores, targets = torch.from_numpy(probabilities), torch.from_numpy(labels)
    expected = multiclass_calibration_error(scores, targets, num_classes=4, n_bins=15, norm="l1")
    assert found["ece"] == pytest.approx(float(expected), abs=1e-6)
    assert found["ece"] > 0.01
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    parts = np.array_split(np.argsort(confidence), 15)
    adaptive = sum(len(part) * abs(confidence[part].mean() - right[part].mean()) for part in parts) / 500
    assert found["adaptive_ece"] == pytest.approx(adaptive)
    assert found["brier"] == pytest.approx(((probabilities - np.eye(4)[labels]) ** 2).sum(axis=1).mean())
    assert found["nll"] == pytest.approx(log_loss(labels, probabilities))
    assert all(row["low"] - 1e-9 <= row["confidence"] <= row["high"] + 1e-9 for row in filled)


def test_sure_and_right_is_calibrated_sure_and_half_wrong_is_not() -> None:
    probabilities = np.tile([[1.0, 0.0]], (4, 1))
    assert calibration_error(probabilities, np.zeros(4, int))["ece"] == pytest.approx(0)
    found = calibration_error(probabilities, np.array([0, 0, 1, 1]))
    assert found["ece"] == pytest.approx(0.5)
    assert found["bins"][-1] == {"low": pytest.approx(14 / 15), "high": 1, "count": 4, "confidence": 1, "accuracy": 0.5}


def test_roundings_that_agree_mostly_are_the_same_and_independent_ones_are_not() -> None:
    rng = np.random.default_rng(0)
    unrounded = rng.normal(size=(200, 10))
    first, other = 0.05 * rng.normal(size=(2, 200, 10))
    reference = unrounded + first
    for correlation, ok in ((0.9, True), (0.6, False), (0.0, False)):
        artifact = unrounded + correlation * first + np.sqrt(1 - correlation**2) * other
        found = rounding_parity(artifact, reference, unrounded)
        assert found.ok is ok
        assert found.of_rounding == pytest.approx(np.sqrt(2 - 2 * correlation), rel=0.05)
        assert found.relative > DYNAMIC_LIMIT
    assert rounding_parity(unrounded, reference, unrounded).ok is False, "it does not round"
    assert rounding_parity(reference + 1e-3, reference, reference).ok, "close, where rounding changes nothing"
    assert rounding_parity(reference[:, :9], reference, unrounded).reason
    spec = ArtifactSpec("litert", "int8-dynamic")
    assert judge.unrounded(spec) == "int8-dynamic-unrounded"
    assert judge.unrounded(ArtifactSpec("litert", "int8")) is None
    nearly = unrounded + 0.9 * first + np.sqrt(1 - 0.81) * other
    given = {"out": nearly}, {"out": reference}
    assert judge.verdict(spec, *given, unrounded={"out": unrounded}).ok
    assert not judge.verdict(spec, *given).ok
