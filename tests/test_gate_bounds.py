"""The bounds of the gate: a candidate whose true drop is the limit passes at most 5% of the time, however few the samples."""

import numpy as np
import pytest
from scipy.special import gammaln, xlogy
from scipy.stats import beta

from edgedistill.gate.bounds import drop, share_above, upper_bound


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
