"""Statistics of the measurements against numpy, scipy, and enumeration."""

import itertools
import math

import numpy as np
import pytest
from scipy import ndimage, stats

from edgedistill.measure import leak, throttling
from edgedistill.measure.power import Power, mean_power
from edgedistill.measure.runner.interval import lower_rank, min_samples, quantile_interval, relative_half_width
from edgedistill.measure.runner.steady import is_steady, trend_p_value
from edgedistill.measure.series import Series
from edgedistill.measure.statistics import intervals_ms, latency_ms, median_interval_ms, percentile

QUANTILES = [0.5, 0.9, 0.95, 0.99, 0.05]


def missed(n, rank, q):
    """Exact probability that x_(rank) lies above the q-quantile."""
    return stats.binom.cdf(rank - 1, n, q)


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
@pytest.mark.parametrize("q", QUANTILES)
def test_the_rank_is_the_narrowest_that_covers(q, confidence):
    tail = (1 - confidence) / 2
    for n in (*range(1, 60), 100, 367, 368, 501, 1000, 1001, 5000, 100_001):
        rank = lower_rank(n, confidence, q)
        assert missed(n, rank, q) <= tail < missed(n, rank + 1, q)


@pytest.mark.parametrize("q", QUANTILES)
def test_the_interval_agrees_with_scipy(q):
    samples = np.random.default_rng(3).lognormal(size=501)
    low, high = quantile_interval(sorted(samples.tolist()), q)
    # scipy's two-sided interval is that of its two one-sided tests.
    bounds = [stats.quantile_test(samples, p=q, alternative=a).confidence_interval(0.975) for a in ("less", "greater")]
    assert (low, high) == pytest.approx((bounds[1].low, bounds[0].high))


@pytest.mark.parametrize("q", [0.5, 0.95, 0.99])
def test_the_interval_covers_the_quantile_as_often_as_it_says(q):
    samples = np.sort(np.random.default_rng(5).exponential(size=(2000, 500)), axis=1)
    truth = -math.log(1 - q)
    covered = sum(low <= truth <= high for low, high in (quantile_interval(row, q) for row in samples))
    assert 0.94 < covered / 2000 < 0.985


@pytest.mark.parametrize(("q", "least"), [(0.5, 6), (0.9, 36), (0.95, 72), (0.99, 368), (0.1, 36)])
def test_too_few_samples_have_no_interval(q, least):
    assert min_samples(q) == least
    assert quantile_interval(range(least), q) is not None
    assert quantile_interval(range(least - 1), q) is None
    assert quantile_interval([], q) is None


def test_the_median_of_six_has_the_widest_interval():
    assert quantile_interval([1, 2, 3, 4, 5, 6]) == (1, 6)
    assert relative_half_width([1, 2, 3, 4, 5]) == math.inf
    assert median_interval_ms([6_000_000, 1_000_000, 2_000_000, 3_000_000, 4_000_000, 5_000_000]) == (1, 6)
    assert median_interval_ms([1, 2, 3, 4, 5]) is None


def test_each_percentile_has_an_interval_or_the_reason_why_not():
    found = intervals_ms([1_000_000 * i for i in range(1, 101)], percentiles=(50, 90, 95, 99)).model_dump(mode="json")
    assert found["p50"] == [40, 61]
    for p in (90, 95):
        low, high = found[f"p{p}"]
        assert low < p < high
    assert found["p99"] == {
        "value": None,
        "unavailable": "100 samples are too few for a 95% interval of p99, which takes at least 368",
    }


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
    found = latency_ms(durations)
    assert (found.p50, found.p95, found.n) == (10.5, pytest.approx(19.05), 20)
    few = latency_ms(durations[:19]).model_dump(mode="json")
    assert (few["p50"], few["n"]) == (10, 19)
    assert few["p95"]["value"] is None
    assert "19 samples" in few["p95"]["unavailable"]
    assert set(few) == {"p50", "p95", "p99", "n"}


def test_p99_takes_as_many_samples_as_its_interval():
    durations = list(range(1_000_000, 1_000_368))
    assert latency_ms(durations).p99 == pytest.approx(percentile(durations, 99) / 1e6)
    assert latency_ms(durations[1:]).p99.unavailable.startswith("367 samples are too few for a 99th percentile")
    assert latency_ms(durations, (50, 90, 95, 99)).p90 == pytest.approx(percentile(durations, 90) / 1e6)


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


@pytest.mark.parametrize("decimals", [0, 3])
def test_the_slope_of_memory_is_that_of_scipy(decimals):
    # Rounded to no decimals, many values are equal.
    rng = np.random.default_rng(decimals)
    for n in (6, 13, 60):
        t = np.sort(rng.choice(10_000, n, replace=False)) / 100
        values = np.round(0.05 * t + rng.normal(size=n), decimals)
        expected = stats.theilslopes(values, t, alpha=0.95)
        assert leak._slope(t, values) == (expected.slope, expected.low_slope, expected.high_slope)


def test_the_interval_of_mean_power_is_that_of_scipy():
    watts = np.random.default_rng(1).normal(3, 0.2, 80)
    power = mean_power(Series("power", "W", "a meter", np.arange(80.0), watts))
    batches = watts.reshape(8, 10).mean(axis=1)
    low, high = stats.t.interval(0.95, df=7, loc=watts.mean(), scale=stats.sem(batches))
    assert isinstance(power, Power)
    assert (power.low, power.high) == pytest.approx((low, high), rel=1e-12)


def test_the_running_median_is_that_of_scipy():
    for shape in ((40,), (3, 40)):
        values = np.random.default_rng(2).normal(size=shape)
        size = (1,) * (len(shape) - 1) + (5,)
        np.testing.assert_array_equal(throttling._running_median(values), ndimage.median_filter(values, size=size, mode="reflect"))
