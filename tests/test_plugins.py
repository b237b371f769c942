"""A package outside the tree adds a task and a format, and nothing in edgedistill is changed for them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgedistill import plugins
from edgedistill.errors import UserError
from edgedistill.records.manifest import Manifest

PACKAGE = Path(__file__).parent / "plugins"
MODEL = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.hear, self.states, self.level = nn.Conv1d(8, 8, 3, padding=1), nn.Linear(8, 3), nn.Linear(12, 1)

    def forward(self, sound, speaker):
        heard = torch.relu(self.hear(sound))
        level = self.level(torch.cat([heard.mean(dim=[2]), speaker], dim=1))
        return {"states": self.states(heard.transpose(1, 2)), "level": level}
"""
TARGET = """
name: toys
description: Anything with numpy.
minimum_os: any
artifacts: [{format: toy, precision: fp32}, {format: toy, precision: int8}, {format: onnx, precision: int8}]
"""
RECIPE = """
name: f
task: frames
data: {samples: 160}
teacher: {train: {epochs: 4, lr: 1.0e-2}}
targets: [./toys.yaml]
measure: {warmup_s: 0.05, max_s: 0.2, min_samples: 20}
"""
# Trains the task's models for two epochs, once with all frames and once with a mask that lets half of them count.
TRAIN = """
import json, sys
from dataclasses import replace
from pathlib import Path
import torch
from edgedistill import tasks
from edgedistill.distill import stages
from edgedistill.distill.lesson import Lesson
from edgedistill.recipe import Recipe

recipe = Recipe.model_validate({"name": "f", "task": "frames", "data": {"samples": 200, "batch_size": 32, "views": 2}})
task, folder = tasks.task("frames"), Path(sys.argv[1])
for name in ("data", "control"):
    (folder / name).mkdir()
task.source(recipe).prepare(folder / "data", 0)
data = task.dataset(recipe, folder / "data")
lesson = Lesson(task, task.signature(recipe, data.facts), data, 2, 32, 0, with_targets_only=True)
before = lesson.score(task.build(recipe.student, recipe, data.facts))
done = stages.train_float(recipe, lesson, folder / "control", distilled=False)
trained = task.build(recipe.student, recipe, data.facts, stages.trained(folder / "control"))
print(json.dumps({"before": before, "after": lesson.score(trained), "losses": done.curve[-1].losses}))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process in which the package is installed."""
    site = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target", site, PACKAGE]
    subprocess.run(command, check=True, capture_output=True)
    root = Path(__file__).parents[1]
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(root), str(site)])}


def run(environment: dict[str, str], cwd: Path, *arguments: object) -> dict[str, Any]:
    command = [sys.executable, "-m", "edgedistill", *map(str, arguments), "--json"]
    done = subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.slow
def test_a_format_of_another_package_is_exported_verified_inspected_and_measured(installed: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MODEL)
    (tmp_path / "toys.yaml").write_text(TARGET)
    draw = np.random.default_rng(0)
    sound, speaker = draw.normal(size=(40, 8, 16)).astype(np.float32), draw.normal(size=(40, 4)).astype(np.float32)
    np.savez(tmp_path / "samples.npz", sound=sound, speaker=speaker)
    model = ("--model", "torch:mine:Net", "--calibration", "samples.npz")
    document = run(installed, tmp_path, "export", *model, "--target", "toys.yaml")
    artifacts = {row["name"]: row for row in document["artifacts"]}
    assert set(artifacts) == {"student-fp32.toy", "student-int8.toy", "student-int8.onnx"}
    assert all(row["ok"] for row in artifacts.values())
    assert all(set(row["outputs"]) == {"states", "level"} for row in artifacts.values())

    file = Path(document["run"], "artifacts", "student-int8.toy")
    shown = run(installed, tmp_path, "inspect", file)
    assert (shown["format"], [port["name"] for port in shown["inputs"]]) == ("toy", ["sound", "speaker"])
    assert shown["weights"]["int8"]["count"] == 3
    measured = run(installed, tmp_path, "bench", file)
    assert measured["versions"] == {"toykit": "0.1.0"}
    assert measured["latency_ms"]["p50"] > 0


def test_a_task_of_another_package_trains_several_inputs_and_outputs(installed: dict[str, str], tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", TRAIN, tmp_path], env=installed, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["before"] < 0.5
    assert found["after"] > 0.6
    assert set(found["losses"]) == {"ce", "level"}


def test_a_name_that_is_taken_and_what_is_no_plug_in_are_refused_with_their_owners(monkeypatch: pytest.MonkeyPatch) -> None:
    def registers(plugin: object) -> None:
        point = SimpleNamespace(dist=SimpleNamespace(name="another"), load=lambda: plugin)
        monkeypatch.setattr(plugins, "entry_points", lambda group: [point])

    registers("mine")
    with pytest.raises(UserError, match=r"two packages register 'mine' as a\.group: edgedistill and another"):
        plugins.registered("a.group", str, ["mine"], str)
    registers(3)
    with pytest.raises(UserError, match=r"another registers int as a.group, expected an instance of builtins\.str"):
        plugins.registered("a.group", str, ["mine"], str)
    registers("theirs")
    assert list(plugins.registered("a.group", str, ["mine"], str)) == ["mine", "theirs"]


@pytest.mark.slow
def test_a_task_of_another_package_is_run_verified_measured_and_bundled(installed: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "toys.yaml").write_text(TARGET)
    (tmp_path / "frames.yaml").write_text(RECIPE)
    summary = run(installed, tmp_path, "run", "frames.yaml")
    assert (summary["status"], summary["task"], summary["metric"]["title"]) == ("ok", "frames", "frame accuracy")
    artifacts = {a["name"]: a for a in summary["artifacts"]}
    assert list(artifacts) == ["student-int8.onnx", "student-fp32.toy", "student-int8.toy"]
    for artifact in artifacts.values():
        assert artifact["ok"]
        assert set(artifact["parity"]["outputs"]) == set(artifact["outputs"]) == {"states", "level"}
        assert artifact["score"]["holdout"]["value"] > 0.3
        assert artifact["latency_ms"]["p50"] > 0
    rungs = {row["rung"]: row for row in summary["ladder"]}
    assert rungs["teacher"]["score"]["val"]["value"] > rungs["student"]["score"]["val"]["value"]
    assert set(rungs["student"]["further"]) == {"level_error"}
    assert [section["title"] for section in summary["sections"]] == ["States"]
    page = (tmp_path / "runs/f/report.html").read_text()
    for text in ("How often each state occurs on val.", "frame accuracy on val", "level_error", "sequence of states"):
        assert text in page

    manifest = Manifest.read(Path(tmp_path, summary["bundles"]["toys"], "manifest.json"))
    assert (manifest.task, manifest.preprocessing.inputs) == ("frames", {"sound": {"bands": 8}})
    entry = manifest.artifacts[0]
    assert [spec.name for spec in entry.signature.outputs] == ["states", "level"]
    folder = Path(tmp_path, summary["bundles"]["toys"])
    golden = {name: np.load(folder / file.path) for name, file in (entry.golden.outputs or {}).items()}
    assert {name: values.shape[1:] for name, values in golden.items()} == {"states": (16, 3), "level": (1,)}

    verified = run(installed, tmp_path, "verify", "runs/f")
    assert verified["status"] == "ok"
    shown = run(installed, tmp_path, "verify", "runs/f/artifacts/student-fp32.toy", "--against", "runs/f")
    assert (shown["ok"], shown["score"]["file"]) == (True, artifacts["student-fp32.toy"]["score"]["val"])
    measured = run(installed, tmp_path, "bench", "runs/f")
    assert {a["name"] for a in measured["artifacts"]} == set(artifacts)
