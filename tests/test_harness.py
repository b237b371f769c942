"""bench, compare and stress on this machine as a device: what their documents hold, and what makes them invalid."""

from dataclasses import replace

import jsonschema
import numpy as np
import pytest
from pydantic import TypeAdapter
from test_schemas import schema_of

from device_tests.rigs.harness import small_model
from edgedistill.errors import UserError
from edgedistill.measure import comparing, harness, presets, store, stressing
from edgedistill.measure.document import measurement as document_of
from edgedistill.measure.harness import Protocol
from edgedistill.measure.records import Execution
from edgedistill.records import Load
from edgedistill.records.measurements import ComparedOutput, Outputs, Setup
from edgedistill.records.stress import StressLoad
from edgedistill.steps import flow

QUICK = Protocol("quick")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return small_model(tmp_path_factory.mktemp("model") / "small.onnx")


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # The lock of this machine's own sessions is none of the tests'.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture(scope="module")
def measured(model, tmp_path_factory):
    """A measurement of the model on this machine, saved as main, and the store that it is in."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("project")
        patch.chdir(folder)
        patch.setenv("XDG_CACHE_HOME", str(folder))
        document = flow.bench_on(model, "local", QUICK, save="main")
    return document.model_dump(mode="json"), folder


def test_a_measurement_tells_what_it_is(measured, model):
    document, _ = measured
    jsonschema.validate(document, schema_of("bench-device"))
    assert (document["device"], document["status"]) == ("local", "ok")
    (one,) = document["measurements"]
    assert one["schema"] == "edgedistill/measurement/1"
    assert (one["kind"], one["artifact"]["name"], one["artifact"]["format"]) == ("bench", "small.onnx", "onnx")
    assert one["artifact"]["bytes"] == model.stat().st_size
    assert one["adapter"] == "edgedistill.backends.onnx.adapter"
    assert one["outputs"]["equal"] is True
    low, high = one["intervals_ms"]["p50"]
    assert low <= one["latency_ms"]["p50"] <= high
    assert one["protocol"]["preset"] == "quick"
    assert one["sensors"]["memory.rss"]["max"] > 1e6
    assert one["sampling_cost"]["sweeps"] >= 1
    assert one["clock_jumps"] == []
    assert one["timeline"]["latency"]["t_s"]
    assert "invalid" not in one["validity"]


def test_mlperf_is_judged_by_its_90th_percentile(measured):
    document, _ = measured
    (one,) = document["measurements"]
    assert "p90" not in one["latency_ms"]
    done = Execution(
        versions={}, facts=one["facts"], load_ms=Load(cold=1.0, warm=1.0), first_inference_ms=1.0, latency_ms=None, median_interval_ms=None,
        steady=True, peak_rss_mb=1.0, peak_rss_source="", outputs=None, raw_durations_ns=list(range(1, 2001)),
    )  # fmt: skip
    found = document_of(Setup(**one), Protocol("mlperf").asked, None, done, [], {})
    assert found.latency_ms.p90 == pytest.approx(1800.1e-6)
    assert found.intervals_ms.p90[0] < 1800e-6 < found.intervals_ms.p90[1]


def test_a_measurement_is_stored_with_its_raw_records(measured):
    document, folder = measured
    with store.opened(folder / store.PATH) as measurements:
        found = measurements.get("main/local/small.onnx")
        raw = measurements.raw(found.id)
    assert found.model_dump(mode="json") == document["measurements"][0] | {"name": "main/local/small.onnx"}
    assert raw.count(b'"type": "iterations"') >= 1
    assert not list((folder / ".edgedistill/records").glob("*")), "they are in the store now"


def test_outputs_of_another_machine_are_judged(model):
    with harness.of_file(model) as (subject,):
        ((name, good),) = subject.expected.items()
        near = harness.compare_outputs({name: good * (1 + 1e-4)}, subject)
        far = harness.compare_outputs({name: good + 0.1 * np.abs(good).max()}, subject)
        assert (near.ok, near.equal, far.ok) == (True, False, False)
        assert "no outputs" in harness.compare_outputs({name: good}, replace(subject, expected=None)).unavailable


def test_each_of_several_outputs_is_judged_by_its_type(model):
    logits, labels = np.ones((4, 2), np.float32), np.arange(4)
    with harness.of_file(model, run=False) as (subject,):
        several = replace(subject, expected={"logits": logits, "labels": labels})
        compared = harness.compare_outputs({"logits": logits, "labels": labels + 1}, several)
        only = harness.compare_outputs({"labels": labels}, replace(subject, expected={"labels": labels}))
    written = compared.model_dump(mode="json")
    assert (written["ok"], written["by_output"]["logits"]["equal"]) == (False, True)
    assert written["by_output"]["labels"] == {"ok": False, "equal": False, "rule": "equal integers"}
    for outputs in (compared, only, compared.by_output["logits"]):
        assert TypeAdapter(Outputs).validate_json(outputs.model_dump_json()) == outputs, "it is read back as what it was"


def test_wrong_outputs_make_a_measurement_invalid(model, monkeypatch):
    differs = ComparedOutput(ok=False, max_abs=3.0, n=16, rule="equal")
    monkeypatch.setattr(harness, "compare_outputs", lambda outputs, subject: differs)
    (one,) = flow.bench_on(model, "local", QUICK).measurements
    assert one.validity == "invalid"
    assert "its outputs are not this machine's" in one.reasons[0]
    assert one.outputs.max_abs == 3.0


def test_a_file_that_fails_is_reported_and_its_records_are_kept(project, model):
    broken = project / "half.onnx"
    broken.write_bytes(model.read_bytes())
    with harness.of_file(broken) as subjects:
        broken.write_bytes(model.read_bytes()[:100])
        (one,) = harness.bench(subjects, "local", QUICK)
    written = one.model_dump(mode="json")
    assert written["validity"] == "invalid"
    assert "half.onnx did not run" in written["reasons"][0]
    assert "unavailable" in written["latency_ms"]
    assert not {"id", "facts", "sensors", "outputs", "regression", "timeline"} & set(written), "none of it is known"
    assert list((project / ".edgedistill/records").glob("*.jsonl"))


def test_a_baseline_that_is_not_there_is_reported(model):
    (one,) = flow.bench_on(model, "local", QUICK, against="main").measurements
    assert "main/local/small.onnx" in one.regression.unavailable


def test_two_files_are_compared(project, model, monkeypatch):
    short = presets.COMPARE_PRESETS["quick"].model_copy(update={"pairs": 2, "max_s": 1.0})
    monkeypatch.setitem(presets.COMPARE_PRESETS, "quick", short)
    slow = small_model(project / "slow.onnx", side=64, width=512)
    found = comparing.compare(model, slow, "local", QUICK).model_dump(mode="json")
    jsonschema.validate(found, schema_of("compare"))
    assert found["verdict"] == "worse"
    assert (found["a"]["artifact"]["name"], found["b"]["artifact"]["name"]) == ("small.onnx", "slow.onnx")
    assert found["twins"] == []
    with pytest.raises(UserError, match="found preset 'mlperf', expected quick or standard"):
        comparing.compare(model, slow, "local", Protocol("mlperf"))


def test_a_load_is_a_measurement(model):
    with harness.of_file(model, run=False) as (subject,):
        test = stressing.stress(subject, "local", QUICK, StressLoad(seconds=2.0, instances=2))
    found = test.model_dump(mode="json")
    jsonschema.validate(found, schema_of("stress"))
    assert found["kind"] == "stress"
    assert found["stress"]["instances"] == [0, 1]
    assert found["stress"]["latency_ms"]["n"] > 100
    assert found["id"] == 1


def test_monitors_on_i2c_are_named_in_full():
    protocol = Protocol(ina=["chip=ina226,bus=1,address=0x40,shunt_ohm=0.1,name=board"])
    assert protocol.conditions["sensors"] == {
        "ina": [{"chip": "ina226", "bus": 1, "address": 64, "shunt_ohm": 0.1, "name": "board"}]
    }  # fmt: skip
    with pytest.raises(UserError, match="--ina: found 'bus=1', expected chip="):
        _ = Protocol(ina=["bus=1"]).conditions


def test_a_meter_on_the_host_gives_the_energy(model):
    metered = Protocol("quick", seconds=3, meter="command:sh -c 'while echo 3.5; do sleep 0.05; done'")
    (one,) = flow.bench_on(model, "local", metered).measurements
    assert one.energy.power_w == pytest.approx(3.5)
    assert "meter" in one.energy.source
