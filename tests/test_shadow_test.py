"""The sequential test of the shadow phase: its error over all looks together, its interval, and how many observations it takes."""

import json
import math

import numpy as np
import pytest
from scipy import integrate, stats
from scipy.special import betaln

from edgedistill.gate.shadow.people import KINDS, People
from edgedistill.gate.shadow.sequential import Sequential

LOOKS = 3000


def refuted(test: Sequential, rate: float, runs: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Of simulated runs, whether `test` ever decides inside and outside when it looks after each observation, bool [runs] each."""
    counts = np.arange(1, LOOKS + 1)
    k = np.cumsum(np.random.default_rng(seed).random((runs, LOOKS)) < rate, axis=1)
    a, b = test._prior
    evidence = betaln(a + k, b + counts - k) - betaln(a, b) - k * math.log(test.tolerance) - (counts - k) * math.log1p(-test.tolerance)
    # The same by the class, where it looks.
    for run, n in ((0, 1), (1, 57), (2, LOOKS)):
        assert evidence[run, n - 1] == pytest.approx(test.evidence(n, int(k[run, n - 1]), test.tolerance), abs=1e-6)
    hit = evidence >= -math.log(test.alpha)
    inside = k < test.tolerance * counts
    return (hit & inside).any(axis=1), (hit & ~inside).any(axis=1)


@pytest.mark.parametrize("tolerance", [0.02, 0.1])
def test_a_rate_at_the_tolerance_is_seldom_called_inside_however_often_one_looks(tolerance: float) -> None:
    inside, outside = refuted(Sequential(tolerance), tolerance, 1000, seed=3)
    # Both errors together have 5%.
    assert (inside | outside).mean() <= 0.05
    # A test that cannot err would say nothing.
    assert inside.any()
    assert outside.any()


def test_a_fixed_test_that_is_repeated_errs_far_more_often() -> None:
    counts = np.arange(1, LOOKS + 1)
    k = np.cumsum(np.random.default_rng(3).random((200, LOOKS)) < 0.1, axis=1)
    assert (stats.binom.cdf(k, counts, 0.1) <= 0.05).any(axis=1).mean() > 0.2


def test_smaller_rates_are_called_inside_and_larger_ones_outside() -> None:
    test = Sequential(0.1)
    assert refuted(test, 0.04, 200, seed=5)[0].all()
    assert refuted(test, 0.2, 200, seed=6)[1].all()


@pytest.mark.parametrize(("n", "k"), [(1, 0), (1, 1), (40, 2), (700, 31)])
def test_the_evidence_is_the_mixture_of_likelihoods(n: int, k: int) -> None:
    test = Sequential(0.05)
    prior = stats.beta(*test._prior)
    mixed, _ = integrate.quad(lambda logit: _mass(logit, prior, n, k), -60, 60, limit=500, epsabs=0, points=[-3])
    assert test.evidence(n, k, 0.3) == pytest.approx(math.log(mixed) - k * math.log(0.3) - (n - k) * math.log(0.7), abs=1e-6)
    # The prior has the tolerance in its middle.
    assert prior.mean() == pytest.approx(0.05)


def _mass(logit: float, prior, n: int, k: int) -> float:
    p = 1 / (1 + math.exp(-logit))
    return p**k * (1 - p) ** (n - k) * float(prior.pdf(p)) * p * (1 - p)


@pytest.mark.parametrize(("n", "k"), [(0, 0), (3, 0), (3, 3), (100, 4), (5000, 100)])
def test_the_interval_holds_the_share_and_ends_where_rates_are_refuted(n: int, k: int) -> None:
    test = Sequential(0.05)
    low, high = test.interval(n, k)
    assert 0 <= low <= (k / n if n else 0.5) <= high <= 1
    for end, inward in ((low, 1e-7), (high, -1e-7)):
        if 0 < end < 1:
            assert test.evidence(n, k, end) == pytest.approx(math.log(20), abs=1e-6)
            assert test.evidence(n, k, end + inward) < math.log(20)


def test_the_interval_misses_the_true_rate_in_at_most_five_of_a_hundred_runs() -> None:
    rng, missed = np.random.default_rng(8), 0
    for _ in range(200):
        k = np.cumsum(rng.random(400) < 0.15)
        missed += any(not low <= 0.15 <= high for low, high in (Sequential(0.05).interval(n, int(k[n - 1])) for n in range(5, 401, 35)))
    assert missed <= 10


def test_decision_and_interval_agree_and_the_number_that_is_needed_is_the_first_that_decides() -> None:
    test = Sequential(0.05)
    first = next(n for n in range(1, 200) if test.decision(n, 0) == "inside")
    assert first == 81
    assert test.interval(first, 0)[1] <= 0.05 < test.interval(first - 1, 0)[1]
    assert (test.decision(0, 0), test.decision(4, 4)) == ("undecided", "outside")
    needed = test.needed(200, 4)
    assert needed is not None
    share = 4.5 / 201
    assert test.decision(needed, round(share * needed)) == "inside"
    assert 200 < needed < 600
    assert test.needed(30, 9) == 30
    assert Sequential(0.5).needed(1000, 500) is None


@pytest.mark.parametrize("wrong", [{"tolerance": 0.0}, {"tolerance": 1.0}, {"tolerance": 0.1, "alpha": 0.0}])
def test_shares_that_are_none_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match="above 0 and below 1"):
        Sequential(**wrong)


def test_the_sample_for_people_is_uniform_whatever_the_order_and_goes_on(tmp_path) -> None:
    names = [f"n{number}" for number in range(90)]
    samples = []
    for place, order in enumerate((names, names[::-1])):
        path = tmp_path / f"{place}.jsonl"
        for start in range(0, 90, 30):
            # Each third is of another process.
            people = People(path, 10)
            for name in order[start : start + 30]:
                people.add(name, {"text": name}, agrees=int(name[1:]) % 3 > 0)
        samples.append(path.read_text())
    first, second = ([json.loads(line) for line in sample.splitlines()] for sample in samples)
    assert first == second
    by_kind = {kind: [int(row["id"][1:]) for row in first if row["sample"] == kind] for kind in KINDS}
    assert {kind: len(numbers) for kind, numbers in by_kind.items()} == {"random": 10, "disagreement": 10}
    assert all(number % 3 == 0 for number in by_kind["disagreement"])
    # The mean of 10 of 90 has a standard deviation of 8.
    assert abs(np.mean(by_kind["random"]) - 44.5) < 25
