"""Statistics of the measurements against numpy, scipy, and enumeration."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from edgedistill.measure.runner.interval import lower_rank, median_interval, relative_half_width
from edgedistill.measure.runner.steady import is_steady, trend_p_value
from edgedistill.measure.statistics import latency_ms, median_interval_ms, percentile


def coverage(n, rank):
    """Exact probability that [x_(rank), x_(n+1-rank)] covers the median."""
    return 1 - 2 * stats.binom.cdf(rank - 1, n, 0.5)


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_the_rank_is_the_narrowest_that_covers(confidence):
    for n in (*range(1, 60), 100, 501, 1000):
        rank = lower_rank(n, confidence)
        if rank:
            assert coverage(n, rank) >= confidence
        assert coverage(n, rank + 1) < confidence


def test_the_rank_of_many_samples_is_at_most_one_from_exact():
    for n in (1001, 5000, 100_001):
        rank = lower_rank(n, 0.95)
        assert coverage(n, rank - 1) >= 0.95 > coverage(n, rank + 2)


def test_the_interval_agrees_with_scipy():
    samples = np.random.default_rng(3).lognormal(size=101)
    expected = stats.quantile_test(samples, q=0, p=0.5).confidence_interval(0.95)
    low, high = median_interval(sorted(samples.tolist()))
    assert (low, high) == pytest.approx((expected.low, expected.high))


def test_five_samples_have_no_interval():
    assert median_interval([1, 2, 3, 4, 5]) is None
    assert median_interval([1, 2, 3, 4, 5, 6]) == (1, 6)
    assert median_interval([]) is None
    assert relative_half_width([1, 2, 3, 4, 5]) == math.inf
    assert median_interval_ms([6_000_000, 1_000_000, 2_000_000, 3_000_000, 4_000_000, 5_000_000]) == [1, 6]


def test_the_half_width_is_a_share_of_the_median():
    assert relative_half_width([80, 90, 100, 100, 110, 120]) == pytest.approx(0.2)
    assert relative_half_width([8, 9, 10, 10, 11, 12]) == pytest.approx(0.2)


@pytest.mark.parametrize("q", [0, 5, 50, 95, 99, 100])
def test_percentiles_follow_definition_7(q):
    samples = np.random.default_rng(q).exponential(size=37)
    ordered = sorted(samples.tolist())
    position = (len(ordered) - 1) * q / 100
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    expected = ordered[below] + (position - below) * (ordered[above] - ordered[below])
    assert percentile(samples.tolist(), q) == pytest.approx(expected)


def test_no_samples_have_no_percentile():
    with pytest.raises(ValueError, match="at least one sample"):
        percentile([], 50)


def test_p95_takes_twenty_samples():
    durations = [1_000_000 * i for i in range(1, 21)]
    assert latency_ms(durations) == {"p50": 10.5, "p95": pytest.approx(19.05), "n": 20}
    few = latency_ms(durations[:19])
    assert few["p50"] == 10
    assert few["n"] == 19
    assert few["p95"]["value"] is None
    assert "19 samples" in few["p95"]["unavailable"]


def test_the_trend_test_agrees_with_enumeration():
    # All orders of seven values are equally likely without a trend, so the exact p-value is a count.
    scores = [sum(math.copysign(1, b - a) for a, b in itertools.combinations(order, 2)) for order in itertools.permutations(range(7))]
    for series in ([0, 1, 2, 3, 4, 5, 6], [6, 5, 3, 4, 2, 0, 1], [1, 0, 3, 2, 5, 4, 6], [3, 1, 5, 0, 6, 2, 4]):
        s = sum(math.copysign(1, b - a) for a, b in itertools.combinations(series, 2))
        exact = np.mean([abs(score) >= abs(s) for score in scores])
        assert trend_p_value(series) == pytest.approx(exact, abs=0.02)


def test_the_trend_test_agrees_with_kendall_with_ties():
    # With ties, scipy's asymptotic p-value lacks the correction for continuity: without it both are the same normal score.
    series = [9, 7, 7, 5, 5, 5, 3, 4]
    s = sum((b > a) - (b < a) for a, b in itertools.combinations(series, 2))
    expected = stats.norm.isf(stats.kendalltau(range(8), series, method="asymptotic").pvalue / 2)
    assert stats.norm.isf(trend_p_value(series) / 2) == pytest.approx(expected * (abs(s) - 1) / abs(s))


def test_constant_series_have_no_trend():
    assert trend_p_value([4.0] * 8) == 1


@pytest.mark.parametrize(
    "medians",
    [
        [100, 90, 80, 75, 70, 66, 63, 61],
        [100, 100, 100, 100, 50, 50, 50, 50],
        [61, 63, 66, 70, 75, 80, 90, 100],
        [100, 100, 100, 100, 100, 100, 100],
    ],
    ids=["falling", "step", "rising", "too short"],
)
def test_not_steady(medians):
    assert not is_steady(medians, 0.01)


@pytest.mark.parametrize(
    "medians",
    [
        [500, 300, 100, 100, 100, 100, 100, 100, 100, 100],
        [100.0, 100.1, 100.2, 100.3, 100.4, 100.5, 100.6, 100.7],
        [100, 108, 96, 103, 92, 107, 95, 104],
    ],
    ids=["after a start", "a trend too small to matter", "noise"],
)
def test_steady(medians):
    assert is_steady(medians, 0.01)
