"""Each artifact of the bundle on each device: it runs, it gives its golden outputs, it keeps the target's budgets."""

from collections.abc import Callable

import pytest

from device_tests.budgets import figure
from device_tests.bundle import Bundle
from device_tests.lab import Lab
from edgedistill.measure.harness import Subject, compare_outputs
from edgedistill.measure.presets import PRESETS

Record = Callable[[str, object], None]


@pytest.mark.smoke
def test_the_bundle_is_whole(lab: Lab, request: pytest.FixtureRequest) -> None:
    assert Bundle(request.config.getoption("--bundle")).changed() == []


@pytest.mark.smoke
def test_it_runs(lab: Lab, subject: Subject) -> None:
    done, outputs = lab.executed(subject)
    assert done.first_inference_ms > 0
    assert done.load_ms.cold > 0
    assert all(len(output) > 0 for output in outputs.values())


@pytest.mark.accuracy
def test_outputs_are_the_golden_ones(lab: Lab, subject: Subject, request: pytest.FixtureRequest, record_property: Record) -> None:
    if subject.expected is None:
        pytest.skip("the bundle has no golden outputs of it: nothing could run it where it was exported")
    compared = compare_outputs(lab.executed(subject)[1], subject)
    record_property("outputs", compared.model_dump(mode="json"))
    assert compared.ok, compared
    # ONNX Runtime rounds int8 another way on other processors; the other two compute the same integers everywhere.
    if request.config.getoption("--exact") and subject.lsb is not None and subject.format in ("executorch", "litert"):
        assert compared.exact == 1, compared


@pytest.mark.latency
def test_latency_is_measured(lab: Lab, subject: Subject, request: pytest.FixtureRequest, record_property: Record) -> None:
    measured, _ = lab.benched(subject)
    written = measured.model_dump(mode="json")
    for name in ("latency_ms", "intervals_ms", "validity", "reasons"):
        record_property(name, written[name])
    assert measured.latency_ms.n >= PRESETS[request.config.getoption("--preset")].min_samples
    low, high = measured.intervals_ms.p50
    assert 0 < low <= measured.latency_ms.p50 <= high


@pytest.mark.latency
@pytest.mark.parametrize("budget", ["p50_ms", "p95_ms", "p99_ms", "load_ms"])
def test_latency_budget(lab: Lab, subject: Subject, limits: dict[str, float], budget: str) -> None:
    if lab.emulated and budget in limits:
        pytest.skip(f"not judged: {lab.emulated}")
    _keeps(lab, subject, limits, budget)


@pytest.mark.memory
def test_peak_memory_budget(lab: Lab, subject: Subject, limits: dict[str, float], record_property: Record) -> None:
    measured, _ = lab.benched(subject)
    record_property("peak_rss_mb", measured.model_dump(mode="json")["peak_rss_mb"])
    found = figure(measured, "peak_rss_mb")
    assert isinstance(found, str) or found > 0, found
    _keeps(lab, subject, limits, "peak_rss_mb")


@pytest.mark.battery
def test_energy_budget(lab: Lab, subject: Subject, limits: dict[str, float], record_property: Record) -> None:
    if lab.emulated and "mj_per_inference" in limits:
        pytest.skip(f"not judged: {lab.emulated}")
    record_property("energy", lab.benched(subject)[0].model_dump(mode="json")["energy"])
    _keeps(lab, subject, limits, "mj_per_inference")


def _keeps(lab: Lab, subject: Subject, limits: dict[str, float], budget: str) -> None:
    if budget not in limits:
        pytest.skip(f"no budget {budget}: neither the target nor --budget has one")
    found = figure(lab.benched(subject)[0], budget)
    assert not isinstance(found, str), f"{budget} of {subject.name} could not be measured: {found}"
    assert found <= limits[budget], f"{budget} of {subject.name} is {found:.4g}, and the budget is {limits[budget]:g}"
