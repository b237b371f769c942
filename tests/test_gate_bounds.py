"""The bounds of the gate: a candidate whose true drop is the limit passes at most 5% of the time, however few the samples."""

import numpy as np
import pytest
from scipy.special import gammaln, xlogy
from scipy.stats import beta

from edgedistill.gate.bounds import calibration_error, drop, share_above, upper_bound
from edgedistill.tasks.classification.calibration_error import confidence_error, gaps


@pytest.mark.parametrize(("k", "n"), [(0, 10), (3, 30), (10, 1000)])
def test_of_two_values_it_is_the_bound_of_clopper_and_pearson(k: int, n: int) -> None:
    exact = beta.ppf(0.95, k + 1, n - k)
    assert exact < upper_bound(np.arange(n) < k, 0.95) < 1.05 * exact
    share, low = share_above(np.arange(n) >= k, 0.95)
    assert share == 1 - k / n
    assert low == 1 - upper_bound(np.arange(n) < k, 0.95)


def test_the_rate_of_wrong_passes_is_computed_exactly_for_few_samples() -> None:
    n = 12
    outcomes = np.array([(a, b, n - a - b) for a in range(n + 1) for b in range(n + 1 - a)])
    bounds = np.array([upper_bound(np.repeat([1.0, -1.0, 0.0], counts), 0.95) for counts in outcomes])
    lost, won, same = outcomes.T
    worst = 0.0
    for limit in (0.05, 0.1, 0.2, 0.3):
        for q in (0, 0.01, 0.05, 0.1, 0.2, 0.3):
            logs = gammaln(n + 1) - gammaln(outcomes + 1).sum(axis=1) + xlogy(lost, q + limit) + xlogy(won, q)
            chances = np.exp(logs + xlogy(same, 1 - 2 * q - limit))
            worst = max(worst, float(chances[bounds <= limit].sum()))
    assert 0.02 < worst <= 0.05


def candidates(kind: str, n: int, limit: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Scores of a teacher, and of a student whose true drop is `limit`."""
    if kind == "right or wrong":
        draw = rng.random(n)
        return draw >= 0.05, (draw < 0.05) | (draw >= 0.10 + limit)
    if kind == "lost whole":
        return np.ones(n), 1.0 - (rng.random(n) < limit)
    return rng.binomial(8, 0.9, n) / 8, rng.binomial(8, 0.9 - limit, n) / 8


@pytest.mark.parametrize(
    ("kind", "n", "limit"), [("right or wrong", 40, 0.1), ("right or wrong", 300, 0.03), ("lost whole", 300, 0.03), ("tokens", 40, 0.1)]
)
def test_of_200_candidates_whose_drop_is_the_limit_at_most_5_percent_pass(kind: str, n: int, limit: float) -> None:
    rng = np.random.default_rng(19)
    passed = sum(drop(*candidates(kind, n, limit, rng), 0.95)[1] <= limit for _ in range(200))
    assert passed <= 10


def confidences(n: int, gap: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Confidences of `n` decisions, and whether these are right: with the confidence less `gap`."""
    sure = 1 - 0.5 * rng.beta(0.4, 6, n)
    return sure, rng.random(n) < sure - gap


def test_of_60_candidates_whose_calibration_error_is_the_limit_at_most_5_percent_pass() -> None:
    rng, samples = np.random.default_rng(3), np.arange(150)
    made = [calibration_error(gaps(*confidences(150, 0.1, rng), samples, 150, 1), 0.95) for _ in range(60)]
    error, bound = (np.array(made) <= 0.1).sum(axis=0)
    # The error itself passes such a candidate nearly every second time.
    assert error > 20
    assert bound <= 3
    calibrated = [calibration_error(gaps(*confidences(300, 0.0, rng), np.arange(300), 300, 1), 0.95)[1] for _ in range(10)]
    assert max(calibrated) <= 0.1


def test_the_calibration_error_is_that_of_the_bins_and_samples_of_many_decisions_count_as_one() -> None:
    rng = np.random.default_rng(1)
    sure, right = confidences(240, 0.05, rng)
    alone = gaps(sure, right, np.arange(240), 240, 1)
    value, bound = calibration_error(alone, 0.95)
    assert value == pytest.approx(confidence_error(sure, right)["ece"])
    # Each decision eight times in a sample: no more is known.
    many = gaps(np.repeat(sure, 8), np.repeat(right, 8), np.repeat(np.arange(240), 8), 240, 8)
    assert calibration_error(many, 0.95) == pytest.approx((value, bound))
    apart = calibration_error(gaps(np.repeat(sure, 8), np.repeat(right, 8), np.arange(1920), 1920, 1), 0.95)
    assert apart[0] == pytest.approx(value)
    assert value < apart[1] < bound - 0.01
    # One sample says nothing, whatever it is.
    assert calibration_error(gaps(np.array([0.99]), np.array([True]), np.array([0]), 1, 1), 0.95)[1] > 0.9


def test_a_student_as_good_as_its_teacher_passes() -> None:
    rng = np.random.default_rng(0)
    passed = sum(drop(*candidates("right or wrong", 600, 0.0, rng), 0.95)[1] <= 0.05 for _ in range(40))
    assert passed >= 36


def test_the_bound_rises_with_confidence_and_where_values_are_rounded() -> None:
    values = np.random.default_rng(0).normal(0, 0.1, 3000)
    normal = values.mean() + 1.2816 * values.std() / np.sqrt(len(values))
    assert normal < upper_bound(values, 0.9) < normal + 0.002
    bounds = [upper_bound(values[:50], confidence) for confidence in (0.5, 0.9, 0.99)]
    assert bounds == sorted(bounds)
    assert upper_bound(np.zeros(0), 0.95) == 1.0


def test_scores_below_0_and_what_is_no_number_count_as_0_and_wrong_arrays_are_refused() -> None:
    good, bad = np.ones(50), np.full(50, -3.0)
    assert drop(good, bad, 0.95) == (1.0, 1.0)
    assert drop(np.full(50, np.nan), np.full(50, np.nan), 0.95) == (1.0, 1.0)
    with pytest.raises(ValueError, match="one length"):
        drop(good, bad[:3], 0.95)
    with pytest.raises(ValueError, match="at most 1, found 2"):
        upper_bound(np.array([2.0]), 0.95)
