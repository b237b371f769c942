"""Monitoring: no false alarms beyond alpha, drift is found, and references travel in bundles."""

import json
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from conftest import edgedistill

import edgedistill as api
from edgedistill.cli.monitor import _show
from edgedistill.errors import UserError
from edgedistill.files import read_arrays
from edgedistill.gate import drift
from edgedistill.gate.drift import Traces, answered
from edgedistill.records.documents import documents
from edgedistill.steps.monitor import monitor
from edgedistill.steps.route import route
from edgedistill.tasks.classification.confidence import confidences
from edgedistill.tasks.image_classification.features import features

ARTIFACT = "student-int8.onnx"
SHARES = np.array([0.4, 0.3, 0.2, 0.1])


def drawn(
    rng: np.random.Generator, count: int, shares: np.ndarray = SHARES, sharpness: float = 8.0, light: float = 0.5, front: float = 0.7
) -> Traces:
    """Answers to images of a mean brightness `light`, the share `front` of which are of the front camera."""
    confidence = np.maximum(rng.beta(sharpness, 1, count), 0.25).round(3)
    cameras = ["front" if one else "back" for one in rng.random(count) < front]
    features: dict[str, Any] = {"light": rng.normal(light, 0.1, count), "camera": cameras}
    return Traces(confidence, [str(number) for number in rng.choice(4, count, p=shares)], features)


def test_the_index_is_that_of_the_formula() -> None:
    before, now = np.array([100, 100, 100]), np.array([150, 90, 60])
    p, q = (before + 0.5) / 301.5, (now + 0.5) / 301.5
    index, (low, high), value = drift.stability(before, now)
    raw = ((q - p) * np.log(q / p)).sum()
    # Less its bias, which is about (k - 1) (1 / n + 1 / m).
    assert index == pytest.approx(raw - 2 * (1 / 300 + 1 / 300), rel=0.1)
    assert low < index < high
    assert value <= 0.001


def test_traces_of_one_population_seldom_count_as_drifted() -> None:
    rng, alpha, repeats = np.random.default_rng(0), 0.1, 30
    alarms = sum(any(test.drifted for test in drift.tests(answered(drawn(rng, 400)), drawn(rng, 150), alpha)) for _ in range(repeats))
    # Of 30, 6 or fewer have a probability of 0.97 at 0.1.
    assert alarms <= 6


@pytest.mark.parametrize(
    ("moved", "what", "tests"),
    [
        ({"sharpness": 3.0}, "confidence", 2),
        ({"shares": SHARES[::-1]}, "decisions", 1),
        ({"light": 0.6}, "input light", 2),
        ({"front": 0.4}, "input camera", 1),
    ],
)
def test_drift_is_found(moved: dict[str, Any], what: str, tests: int) -> None:
    rng = np.random.default_rng(0)
    reference, traces = answered(drawn(rng, 400)), drawn(rng, 300, **moved)
    found = drift.tests(reference, traces, 0.01)
    assert [test.name.partition(": ")[0] for test in found if test.drifted] == [what] * tests
    shifts = drift.inputs(reference, traces, found)
    assert [f"input {shift.feature}" for shift in shifts if shift.drifted] == ([what] if what.startswith("input") else [])
    means = {shift.feature: (shift.reference, shift.traces) for shift in shifts}
    assert means["light"] == (pytest.approx(0.5, abs=0.02), pytest.approx(moved.get("light", 0.5), abs=0.02))
    assert means["camera"] == (None, None)


def test_a_feature_of_another_kind_is_not_compared() -> None:
    rng = np.random.default_rng(0)
    reference, traces = answered(drawn(rng, 100)), drawn(rng, 100)
    other = traces._replace(features={"light": ["dim"] * 100, "camera": np.ones(100), "smell": np.ones(100)})
    assert drift.compared(reference, other) == []
    assert len(drift.tests(reference, other, 0.01)) == 3


def test_few_numbers_stand_for_many_equal_confidences() -> None:
    found = answered(Traces(np.array([1.0] * 95 + [0.5] * 5), []))
    assert found.values == [0.5, 1.0]
    assert found.shares == [0.05, 1.0]
    assert sum(found.counts) == found.n == 100


def test_p_values_are_adjusted_by_holm() -> None:
    assert drift._holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert drift._holm([0.9, 0.8]) == [1.0, 1.0]


def written(path: Path, traces: Traces) -> Path:
    columns: dict[str, Any] = {"confidence": traces.confidence.tolist()}
    columns |= {"decision": traces.decisions} if traces.decisions else {}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    for place, row in enumerate(rows if traces.features else []):
        row["features"] = {name: values[place] for name, values in traces.features.items()}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def run(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shutil.copytree(tiny / "runs/tiny", tmp_path_factory.mktemp("monitor") / "tiny", symlinks=True)


@pytest.fixture(scope="module")
def val(run: Path) -> Traces:
    """What an artifact answered on val."""
    logits = read_arrays(run / f"work/val-{ARTIFACT}/outputs")["logits"]
    known = features(read_arrays(run / "work/programs/samples")["image"])
    return Traces(confidences(logits)["probability"], [str(number) for number in logits.argmax(axis=1)], known)


def test_a_bundle_knows_what_its_run_knows(run: Path, val: Traces, tmp_path: Path) -> None:
    route(run, rate=0.2, when=["red_mean<0"])
    bundle = api.bundle(run, ["raspberry-pi"], tmp_path).bundles["raspberry-pi"]
    traces = written(tmp_path / "traces.jsonl", val)
    found = [monitor(source, traces, artifact=ARTIFACT) for source in (run, bundle)]
    assert found[0].model_copy(update={"source": str(bundle)}) == found[1]
    assert found[0].advice == "stable"
    # Two for the confidence and each of six features, and one for the decisions.
    assert len(found[0].tests) == 15
    assert max(test.statistic for test in found[0].tests) < 1e-5
    assert {shift.feature for shift in found[0].inputs} == set(val.features)
    assert found[0].sent.value == pytest.approx(0.2, abs=0.02)
    size = len(json.dumps(json.loads((Path(bundle) / "manifest.json").read_text())["reference"]["artifacts"][ARTIFACT]))
    assert size < 7000
    without = monitor(run, written(traces, val._replace(features={})))
    assert without.sent.unavailable.startswith("the router has a rule by red_mean")


def test_the_command_says_when_to_train_again(run: Path, val: Traces, tmp_path: Path) -> None:
    dark = {name: values / 2 for name, values in val.features.items()}
    moved = Traces(val.confidence**4, ["3"] * len(val.confidence), dark)
    done = edgedistill("monitor", run, written(tmp_path / "traces.jsonl", moved), "--artifact", ARTIFACT, "--json", cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    document = json.loads(done.stdout)
    jsonschema.validate(document, documents()["monitor"].model_json_schema(mode="serialization", by_alias=True))
    assert document["advice"] == "retrain"
    assert document["shifts"][0] == {"decision": "3", "reference": pytest.approx(0.1, abs=0.05), "traces": 1.0}
    assert {shift["feature"] for shift in document["inputs"] if shift["drifted"]} == set(dark)


def test_the_command_says_which_input_moved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    earlier, now = written(tmp_path / "a.jsonl", drawn(rng, 500)), written(tmp_path / "b.jsonl", drawn(rng, 500, light=0.8, front=0.1))
    found = monitor(earlier, now)
    # However much they moved: the answers did not.
    assert (found.advice, found.status) == ("watch", "ok")
    assert max(test.statistic for test in found.tests) > 1
    _show(found)
    said = capsys.readouterr().out
    light = next(shift for shift in found.inputs if shift.feature == "light")
    assert f"The requests moved: light has the mean {light.traces:.4g}, was {light.reference:.4g}." in said
    assert "The requests moved: camera has other shares." in said


def test_a_small_drift_is_watched(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    earlier, now = written(tmp_path / "a.jsonl", drawn(rng, 3000)), written(tmp_path / "b.jsonl", drawn(rng, 3000, sharpness=7.0))
    found = monitor(earlier, now)
    assert (found.advice, found.status, found.artifact) == ("watch", "ok", None)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{}", ":40: found '{}', expected an object such as"),
        ("[1]", ":40: found"),
        ('{"confidence": 1.5}', "found the confidence 1.5, expected a number from 0 to 1"),
        ('{"confidence": true}', "found the confidence True"),
        ('{"confidence": 0.5, "decision": 10}', "found the decision 10, expected one of 0, 1"),
        ('{"confidence": 0.5, "decision": "cat"}', "found the decision 'cat'"),
        ('{"confidence": 0.5}', "40 traces, but 39 with a decision"),
        ('{"confidence": 0.5, "features": [1]}', ":40: found"),
        ('{"confidence": 0.5, "features": {"light": true}}', "found the feature light as 'True', expected a finite number or a text"),
        ('{"confidence": 0.5, "features": {"light": NaN}}', "found the feature light as 'nan'"),
        ('{"confidence": 0.5, "decision": 1, "features": {"light": 1}}', "the feature light in them as 1 numbers and 0 texts"),
    ],
)
def test_a_line_that_is_no_trace_is_named(run: Path, tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "traces.jsonl"
    path.write_text('{"confidence": 0.5, "decision": 3}\n' * 39 + line)
    with pytest.raises(UserError) as error:
        monitor(run, path)
    assert said in str(error.value)


def test_few_traces_say_nothing(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has 29 traces, expected 30 or more"):
        monitor(run, written(tmp_path / "traces.jsonl", drawn(np.random.default_rng(0), 29)))
