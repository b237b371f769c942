"""Where throttling began: steps and drifts are found at their time, noise of every kind is none, and sensors tell the cause."""

import itertools

import numpy as np
import pytest

from edgedistill.measure.causes import causes
from edgedistill.measure.changepoints import trends
from edgedistill.measure.series import Series
from edgedistill.measure.throttling import Windows, onset, windows

N = 600
T = np.arange(N) + 0.5


def autocorrelated(generator, rho, deviation):
    steps = generator.normal(0, deviation * np.sqrt(1 - rho**2), N)
    return np.array(list(itertools.accumulate(steps, lambda level, step: rho * level + step)))


NOISE = {
    "quiet": lambda g: g.normal(0, 0.003, N),
    "loud": lambda g: g.normal(0, 0.1, N),
    "autocorrelated": lambda g: autocorrelated(g, 0.8, 0.03),
    "heavy tails": lambda g: 0.03 * g.standard_t(3, N),
    "single slow inferences": lambda g: g.normal(0, 0.02, N) + (g.random(N) < 0.03) * np.log(6),
    "a wave of 10 s": lambda g: g.normal(0, 0.02, N) + 0.15 * np.sin(2 * np.pi * T / 10 + g.random()),
    "a wave of a minute": lambda g: g.normal(0, 0.02, N) + 0.1 * np.sin(2 * np.pi * T / 60 + g.random()),
    "a job every minute": lambda g: g.normal(0, 0.02, N) + (np.arange(N) % 60 > 55) * np.log(1.5),
}


@pytest.mark.parametrize("noise", NOISE)
def test_noise_is_no_throttling(noise):
    found = [onset(Windows(T, 0.005 * np.exp(NOISE[noise](np.random.default_rng(seed))))) for seed in range(2)]
    assert found == [None] * 2


@pytest.mark.parametrize("noise", ["quiet", "loud", "single slow inferences", "a wave of 10 s", "a job every minute"])
@pytest.mark.parametrize("at", [60, 570])
def test_a_step_is_found_at_its_time(noise, at):
    # Half the time of a core, as a quota or half the frequency gives.
    made = NOISE[noise](np.random.default_rng(at)) + np.log(2) * (T > at)
    found = onset(Windows(T, 0.005 * np.exp(made)))
    assert abs(found.t_s - at) <= 5
    assert found.before == pytest.approx(0.005, rel=0.15)
    assert found.after / found.before == pytest.approx(2, rel=0.3)


def test_a_small_step_in_a_short_run_is_found():
    made = np.random.default_rng(0).normal(0, 0.01, 40) + np.log(1.08) * (np.arange(40) >= 24)
    assert abs(onset(Windows(T[:40], np.exp(made))).t_s - 24) <= 2


def test_a_drift_begins_where_it_left_the_initial_level():
    # 0.1% a second from 200 s on: half of the least effect is reached 25 s later, all of it after 49 s.
    made = np.random.default_rng(0).normal(0, 0.005, N) + 0.001 * np.maximum(0, T - 200)
    assert 215 <= onset(Windows(T, np.exp(made))).t_s <= 250


@pytest.mark.parametrize(
    "change",
    [np.log(1.03) * (T > 300), -np.log(2) * (T > 300), np.log(3) * ((T > 300) & (T < 304)), np.log(300) * (T > N - 1)],
    ids=["below the least effect", "faster", "four seconds", "the last second"],
)
def test_what_is_no_lasting_rise_is_none(change):
    assert onset(Windows(T, np.exp(change + np.random.default_rng(0).normal(0, 0.003, N)))) is None


def test_a_throttling_that_comes_and_goes_is_found():
    made = np.log(1.7) * (T > 200) * (T // 8 % 2 == 0)
    assert abs(onset(Windows(T, np.exp(made + np.random.default_rng(0).normal(0, 0.02, N)))).t_s - 200) <= 10


def test_noise_is_what_lasting_changes_do_not_explain():
    noise = np.random.default_rng(0).normal(0, 0.02, N)
    for change, places in (
        (0 * T, []),
        (0.5 * (T > 200), [200]),
        (0.5 * ((T > 200) & (T < 260)), [200, 260]),
        (T / 1000, []),
        (0.04 * (T > 300), []),
    ):
        trend, pieces = trends(noise + change, 0.05)
        assert [start for start, _ in pieces[1:]] == pytest.approx(places, abs=1)
        assert np.std(noise + change - trend) == pytest.approx(0.02 if np.ptp(change) > 0.05 else np.std(noise + change), rel=0.1)


def test_too_short_a_run_has_no_onset():
    assert onset(Windows(T[:19], np.exp(np.log(2) * (np.arange(19) > 10)))) is None


def test_windows_see_a_quota_that_the_median_does_not():
    # 5 ms each, and from 10 s on every tenth is halted for 55 ms.
    took = np.where((np.arange(4000) >= 2000) & (np.arange(4000) % 10 == 0), 0.055, 0.005)
    ends = np.cumsum(took)
    found = windows(ends, took, 1.0)
    np.testing.assert_allclose(found.t_s[:3], [1.5, 2.5, 3.5])
    np.testing.assert_allclose(found.seconds[1:8], 0.005)
    np.testing.assert_allclose(found.seconds[12:], 0.010, rtol=0.05)
    # The last window is not whole, and may hold a single slow inference.
    assert found.t_s[-1] + 0.5 <= ends[-1]
    slow = windows(np.arange(1, 100) * 2.0, np.full(99, 2.0), 0.0)
    assert np.diff(slow.t_s)[0] == pytest.approx(6)


def series(name, before, after, at=100.0):
    t = np.arange(0, 200, 0.5)
    return {name: Series(name, "", "made", t, np.where(t < at, before, after).astype(float))}


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (series("frequency.cpu4", 2400, 1500), ["frequency fell from 2400 to 1500 MHz"]),
        (series("frequency.cpu4", 2400, 1500) | series("frequency.cpu0", 1800, 1800), ["frequency fell from 2400 to 1500 MHz"]),
        # One of two fast cores idles.
        (series("frequency.cpu4", 2400, 2400) | series("frequency.cpu5", 2400, 600), []),
        (series("frequency.cpu4", 2400, 2300), []),
        (series("thermal.status", 0, 3), ["thermal status 3"]),
        (series("thermal.status", 1, 1), []),
        (series("throttled.firmware", 0x50000, 0x50005), ["under-voltage", "throttled"]),
        (series("throttled.firmware", 1, 5), ["throttled"]),
        (series("temperature.cpu", 40, 90), []),
        (series("load.others", 0.1, 0.9), ["other processes took 90% of the processor"]),
        (series("load.others", 0.1, 0.15), []),
        (series("frequency.cpu0", 2400, 1500, at=120), []),
    ],
)
def test_causes(made, expected):
    assert [one.cause for one in causes(made, 100.0, (5.0, 25.0))] == expected
