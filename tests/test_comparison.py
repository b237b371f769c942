"""The ratio of two sides, its interval and the verdict on records whose truth is known; and a measurement against a baseline."""

import math

import numpy as np
import pytest
from made_documents import about, made_measurement
from scipy import stats

from edgedistill.cli.compare import rows, show
from edgedistill.errors import UserError
from edgedistill.measure import comparison
from edgedistill.measure import regression as regressions
from edgedistill.measure.comparison import verdict
from edgedistill.measure.presets import COMPARE_PRESETS
from edgedistill.measure.runner import ratio
from edgedistill.measure.runner.ratio import _centres, bootstrap_interval, centre, log_ratios, student_t
from edgedistill.records.comparisons import CompareDocument
from edgedistill.records.measurements import Measurement

MEDIAN_NS = 1_000_000


def compare(records):
    """The figures of a comparison, as JSON."""
    return comparison.compare(records).model_dump(mode="json")


def regression(baseline, new, **options):
    """A measurement against one or several sessions, as JSON; both are JSON as well."""
    sessions = [baseline] if isinstance(baseline, dict) else baseline
    return regressions.regression([Measurement(**session) for session in sessions], Measurement(**new), **options).model_dump(mode="json")


@pytest.fixture
def few_resamples(monkeypatch):
    monkeypatch.setattr(ratio, "_RESAMPLES", 1000)


def records(rng, ratio=1.0, rounds=10, between=0.005, drift=0.0, pairs=3):
    """A comparison whose processes differ by `between` (a share), and whose machine gets slower by `drift` from block to block."""
    found = [{"type": "compared", "rounds": rounds, "stopped": "narrow"}]
    step = 0
    for number in range(rounds):
        layouts = {"a": rng.normal(0, between), "b": math.log(ratio) + rng.normal(0, between)}
        for side in ("a", "b"):
            found.append({"type": "load", "kind": "first", "side": side, "round": number, "ns": 2_000_000})
            found.append({"type": "first_inference", "side": side, "round": number, "ns": 3_000_000})
            found.append({"type": "warmup", "side": side, "round": number, "steady": number > 0})
        for pair in range(pairs):
            for side in ("a", "b") if pair % 2 == number % 2 else ("b", "a"):
                durations = MEDIAN_NS * np.exp(layouts[side] + drift * step + np.abs(rng.standard_t(2, 15)) * 0.01)
                found.append({"type": "block", "side": side, "round": number, "t0_ns": 0, "durations_ns": durations.astype(int).tolist()})
                step += 1
    return found


def test_the_document_tells_both_sides():
    found = compare(records(np.random.default_rng(0), ratio=1.1))
    low, high = found["ratio"]["interval"]
    assert low < found["ratio"]["value"] < high
    assert low < 1.1 < high
    assert found["verdict"] == "worse"
    assert found["text"].startswith("B is worse: it takes 1.1")
    assert found["rounds"]["n"] == len(found["rounds"]["ratios"]) == 10
    assert found["a"]["latency_ms"]["n"] == 10 * 3 * 15
    assert found["a"]["latency_ms"]["p50"] == pytest.approx(1.0, abs=0.02)
    assert found["b"]["intervals_ms"]["p50"][0] < found["b"]["latency_ms"]["p50"] < found["b"]["intervals_ms"]["p50"][1]
    assert (found["b"]["load_ms"], found["b"]["first_inference_ms"], found["b"]["steady"]) == (2, 3, 0.9)


def test_the_other_way_round_is_better():
    found = compare(records(np.random.default_rng(0), ratio=1 / 1.1))
    assert found["verdict"] == "better"
    equal = compare(records(np.random.default_rng(0)))
    assert equal["verdict"] == "no difference"
    assert "is ruled out" in equal["text"]


def test_a_drift_meets_both_alike():
    # 0.2% a block makes the last block 13% slower than the first.
    found = compare(records(np.random.default_rng(1), between=0, drift=0.002))
    assert found["ratio"]["value"] == pytest.approx(1, abs=0.002)


def test_pairs_are_neighbours():
    blocks = []
    # Each pair is twice as slow as the one before, and B takes 10% more than A.
    for pair, order in enumerate(("ab", "ba", "ab")):
        blocks += [{"round": 4, "side": side, "durations_ns": [(1.1 if side == "b" else 1) * 100 * 2**pair] * 3} for side in order]
    assert log_ratios(blocks) == pytest.approx([math.log(1.1)])
    # One pair of three was disturbed, and does not count.
    blocks[2]["durations_ns"] = [10_000] * 3
    assert log_ratios(blocks) == pytest.approx([math.log(1.1)])
    blocks.append({"round": 5, "side": "a", "durations_ns": [100]})
    blocks.append({"round": 5, "side": "b", "durations_ns": [100, 120, 300]})
    assert log_ratios(blocks) == pytest.approx([math.log(1.1), math.log(1.2)])


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        ([1.006, 1.02], "worse"),
        ([1.004, 1.02], "no difference"),
        ([0.98, 0.994], "better"),
        ([0.98, 0.996], "no difference"),
        ([0.9, 1.1], "no difference"),
    ],
)
def test_a_difference_counts_only_as_a_whole(interval, said):
    assert verdict(interval, 0.005) == said


def test_equal_builds_are_equal_and_three_percent_are_found(few_resamples):
    rng = np.random.default_rng(7)
    equal = [compare(records(rng))["verdict"] for _ in range(60)]
    slower = [compare(records(rng, ratio=1.03))["verdict"] for _ in range(60)]
    assert sum(said != "no difference" for said in equal) <= 1
    assert sum(said == "worse" for said in slower) >= 59


@pytest.mark.parametrize("rounds", [6, 10])
@pytest.mark.parametrize("noise", ["normal", "t3", "layouts"])
def test_the_interval_holds_as_often_as_it_says(rounds, noise, few_resamples):
    rng = np.random.default_rng(rounds)
    size = (250, rounds)
    # Layouts: a third of the processes are slow, on either side.
    drawn = {
        "normal": lambda: rng.normal(size=size),
        "t3": lambda: rng.standard_t(3, size=size),
        "layouts": lambda: (rng.random(size) < 0.3) * 1.0 - (rng.random(size) < 0.3) + 0.1 * rng.normal(size=size),
    }[noise]()
    held = sum(low <= 0 <= high for low, high in (bootstrap_interval(row) for row in drawn))
    # Of 250, 0.95 less three standard errors; a plain percentile interval of 6 rounds holds in 80% to 87%.
    assert held / 250 >= 0.909


def test_the_interval_is_repeatable_and_moves_with_the_values():
    values = np.random.default_rng(2).normal(size=9)
    low, high = bootstrap_interval(values, seed=1)
    assert (low, high) == bootstrap_interval(values, seed=1)
    assert bootstrap_interval(values, seed=2) == pytest.approx((low, high), abs=0.1 * (high - low))
    assert bootstrap_interval(values + 5, seed=1) == pytest.approx((low + 5, high + 5))
    assert low < centre(values) < high
    assert bootstrap_interval(values[:5]) is None


def test_one_disturbed_round_hardly_moves_the_centre():
    values = [0.0, 0.01, -0.01, 0.005, -0.005, 0.002, 5.0]
    assert abs(centre(values)) < 0.01
    assert centre([1.0, 2.0, 3.0]) == 2


@pytest.mark.parametrize("n", [2, 5, 6, 7, 12])
def test_a_resample_has_the_centre_of_the_values_drawn(n):
    rng = np.random.default_rng(n)
    values, counts = rng.normal(size=n), rng.multinomial(n, [1 / n] * n, 40)
    for found, row in zip(_centres(values, counts), counts, strict=True):
        drawn = np.repeat(values, row)
        pairs = [(drawn[i] + drawn[j]) / 2 for i in range(n) for j in range(i, n)]
        assert found == pytest.approx(np.median(pairs))


@pytest.mark.parametrize("degrees", [5, 6, 9, 30])
@pytest.mark.parametrize("probability", [0.95, 0.975, 0.995])
def test_students_t(probability, degrees):
    assert student_t(probability, degrees) == pytest.approx(stats.t.ppf(probability, degrees), rel=1e-3)


def told(names, **more):
    """A document as `compare` on a device gives it."""
    document = compare(records(np.random.default_rng(0), ratio=1.1)) | about("compare", names[1])
    for side, name in zip(("a", "b"), names, strict=True):
        document[side]["artifact"] = about("compare", name)["artifact"]
    protocol = COMPARE_PRESETS["quick"].model_dump()
    return CompareDocument(**document | {"protocol": protocol, "validity": "noisy", "twins": [], "reasons": []} | more)


def test_both_sides_are_shown_with_their_twins(capsys):
    twin = told(("[net]-fp32", "[net]-int8"))
    document = told(("[net]-int8", "new-fp32"), twins=[twin], reasons=["it was busy"], stopped="time")
    found = rows(document)
    assert [row[:3] for row in found] == [
        ["A", "[net]-int8", "int8"],
        ["fp32 twin", "[net]-fp32", "fp32"],
        ["B", "new-fp32", "fp32"],
    ]
    assert found[2][-1].startswith("1.1")
    show(document)
    printed = capsys.readouterr().out
    for text in ("[net]-fp32", "B is worse", "The time was up", "noisy: it was busy", "[net]-int8 takes 1.10"):
        assert text in printed


def measured(p50=1.0, half=0.005, **changes):
    unknown = {"value": None, "unavailable": "not measured"}
    figures = {
        "latency_ms": {"p50": p50, "p95": unknown, "p99": unknown, "n": 10},
        "intervals_ms": {"p50": [p50 * (1 - half), p50 * (1 + half)], "p95": unknown, "p99": unknown},
    }
    return made_measurement("student-int8.tflite") | figures | changes


@pytest.mark.parametrize(
    ("p50", "said"),
    [(1.0, "no regression"), (1.03, "no regression"), (1.036, "no regression"), (1.05, "regression"), (0.94, "improvement")],
)
def test_only_what_is_wholly_beyond_the_tolerance_is_a_regression(p50, said):
    found = regression(measured(), measured(p50))
    assert found["verdict"] == said
    assert found["ratio"]["value"] == pytest.approx(p50)
    # Half-widths of 0.5% on both sides.
    low, high = found["ratio"]["interval"]
    assert (low / p50, high / p50) == pytest.approx((1 - 0.005 * math.sqrt(2), 1 + 0.005 * math.sqrt(2)), abs=1e-4)
    assert "found 1" in found["spread"]["between_sessions"]["unavailable"]


def test_a_wider_tolerance_lets_more_pass():
    assert regression(measured(), measured(1.05), tolerance=0.06)["verdict"] == "no regression"


def test_the_spread_of_several_sessions_counts():
    sessions = [measured(p50) for p50 in (0.96, 1.0, 1.04, 1.02, 0.98)]
    found = regression(sessions, measured(1.08))
    logs = np.log([0.96, 1.0, 1.04, 1.02, 0.98])
    reach = stats.t.ppf(0.975, 4) * logs.std(ddof=1) * math.sqrt(1 + 1 / 5)
    ratio = math.log(1.08) - logs.mean()
    assert np.log(found["ratio"]["interval"]) == pytest.approx([ratio - reach, ratio + reach], abs=1e-3)
    assert found["verdict"] == "no regression"
    assert found["sessions"] == 5
    assert regression([measured()] * 5, measured(1.08))["verdict"] == "regression"
    wide = regression([measured()] * 5, measured(1.08, half=0.06))
    assert wide["verdict"] == "no regression", "a noisy new session is known less well than the baseline's spread tells"


def test_what_was_not_measured_alike_is_refused():
    other = measured(threads=1)
    other["device"]["model"] = "Pixel 9"
    with pytest.raises(UserError, match="device is Pixel 9 and the baseline's Pixel 8; threads is 1 and the baseline's 4"):
        regression(measured(), other)
    crashed = {"value": None, "unavailable": "it crashed"}
    failed = measured(latency_ms=crashed, intervals_ms=crashed)
    with pytest.raises(UserError, match="no median to compare: it crashed"):
        regression(measured(), failed)


def test_measurements_that_are_not_valid_are_reported():
    throttled = measured(validity="throttled", reasons=["the clock fell"])
    assert regression(measured(), measured())["warnings"] == []
    assert regression(throttled, throttled)["warnings"] == [
        "the baseline is throttled (the clock fell)",
        "it is throttled (the clock fell)",
    ]
