"""The whole flow on a small model: every artifact verified, bundles complete, the state in every file, resuming, bad input."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import NAMES, TINY, edgedistill, plain

ARTIFACTS = {
    "student-int8.pte", "student-fp32.pte", "student-int8.tflite", "student-fp32.tflite", "student-int8.onnx", "student-fp32.onnx",
    "student-int8.mlpackage", "student-fp16.mlpackage", "student-int8.aimodel", "student-fp32.aimodel",
    "teacher-fp32.onnx",
}  # fmt: skip


@pytest.fixture(scope="session")
def summary(tiny: Path) -> dict[str, Any]:
    return json.loads((tiny / "result.json").read_text())


@pytest.fixture(scope="session")
def artifacts(summary: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {a["name"]: a for a in summary["artifacts"]}


def test_a_run_s_folder_holds_what_a_person_takes_from_it(tiny: Path) -> None:
    run = tiny / "runs" / "tiny"
    assert {path.name for path in run.iterdir()} == {"report.html", "summary.json", "recipe.json", "artifacts", "bundles", "logs", "work"}
    assert {path.name for path in (run / "artifacts").iterdir()} == ARTIFACTS


def test_every_artifact_is_executed_and_proven(summary: dict[str, Any], artifacts: dict[str, dict[str, Any]]) -> None:
    assert set(artifacts) == ARTIFACTS
    assert {name: a["parity"] for name, a in artifacts.items() if a["ok"] is not True} == {}
    assert [p for p in summary["pairs"] if not p["ok"]] == []
    assert summary["status"] == "ok"
    assert len(summary["pairs"]) == 10
    for name, a in artifacts.items():
        executor = "mil_float16" if a["precision"] == "fp16" else "mil_float64"
        assert a["executed_by"] == (executor if a["format"] == "coreml" else "own_runtime")
        assert a["score"]["val"]["n"] == 359
        assert a["score"]["holdout"]["n"] == 359
        assert a["bytes"] > 10_000
        if a["format"] == "coreml":
            assert "no runtime of Core ML" in a["latency_ms"]["unavailable"]
        elif a["format"] == "coreai":
            assert "an interpreter, not a device" in a["latency_ms"]["unavailable"]
        else:
            assert 0 < a["latency_ms"]["p50"] <= a["latency_ms"]["p95"], name
            assert a["latency_ms"]["n"] >= 20
            assert a["load_ms"]["cold"] > 0
            assert a["peak_rss_mb"] > 0
    for end in (".pte", ".tflite", ".onnx", ".aimodel"):
        assert artifacts[f"student-int8{end}"]["bytes"] < 0.5 * artifacts[f"student-fp32{end}"]["bytes"]


def test_the_ladder_has_every_rung_and_the_verdict_its_interval(summary: dict[str, Any]) -> None:
    rungs = [row["rung"] for row in summary["ladder"]]
    assert rungs[:6] == ["teacher", "control", "student", "fake_quant", "converted", "integer"]
    assert set(rungs[6:]) == ARTIFACTS - {"teacher-fp32.onnx"}
    assert summary["ladder"][0]["score"]["val"]["value"] > 0.8
    # The simulation of int8 is scored on val only.
    scored = {row["rung"] for row in summary["ladder"] if row["score"]["holdout"].get("n") == 359}
    assert scored == set(rungs) - {"fake_quant"}
    assert summary["verdict"]["outcome"] in ("helped", "no_difference", "hurt")
    assert set(summary["state"]["temperature"]) == {"student", "int8"}
    assert all(value > 0 for value in summary["state"]["temperature"].values())
    assert set(summary["curves"]["student"][-1]["losses"]) == {"ce", "kd"}
    low, high = summary["verdict"]["interval"]
    assert low <= summary["verdict"]["difference"] <= high
    assert len(summary["curves"]["student"]) == 8
    assert len(summary["curves"]["control"]) == 6, "the control takes as many steps as the fp32 student"


def test_a_bundle_has_its_files_and_golden_outputs(tiny: Path, summary: dict[str, Any]) -> None:
    assert set(summary["bundles"]) == {"ios", "android", "raspberry-pi", "linux"}
    bundle = tiny / summary["bundles"]["android"]
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert {a["name"] for a in manifest["artifacts"]} == {f"student-{p}{e}" for p in ("int8", "fp32") for e in (".pte", ".tflite")}
    images = np.load(bundle / "golden" / "inputs" / "image.npy")
    assert images.shape == (16, 3, 32, 32)
    assert manifest["labels"] == [str(i) for i in range(10)]
    assert manifest["preprocessing"].keys() == {"inputs", "outputs"}, "labels stand once"
    from edgedistill.backends.litert import adapter as litert

    litert.prepare(1)
    run = plain(litert.load(str(bundle / "student-int8.tflite"), 1, NAMES))
    golden = np.load(bundle / "golden" / "outputs" / "student-int8.tflite" / "logits.npy")
    assert np.array_equal(np.concatenate([run(images[i : i + 1]) for i in range(16)]), golden)


def test_export_takes_the_newest_run_and_leaves_a_folder_that_is_no_bundle_alone(
    tiny: Path, summary: dict[str, Any], tmp_path: Path
) -> None:
    command = ["export", "--target", "ios", "--target", "raspberry-pi", "--json", "--out"]
    done = edgedistill(*command, tmp_path / "made", cwd=tiny)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert {name: Path(path).relative_to(tmp_path).as_posix() for name, path in result["bundles"].items()} == {
        "ios": "made/ios", "raspberry-pi": "made/raspberry-pi",
    }  # fmt: skip
    assert (tmp_path / "made" / "ios" / "student-int8.mlpackage" / "Manifest.json").exists()
    kept = json.loads((tiny / "runs" / "tiny" / "summary.json").read_text())
    assert {a["name"] for a in kept["artifacts"]} == ARTIFACTS, "what other targets asked for stays in the run"
    assert {a["sha256"] for a in kept["artifacts"]} == {a["sha256"] for a in summary["artifacts"]}, "nothing is lowered again"

    (tmp_path / "mine" / "ios").mkdir(parents=True)
    (tmp_path / "mine" / "ios" / "thesis.txt").write_text("years of work")
    done = edgedistill(*command, tmp_path / "mine", cwd=tiny)
    assert done.returncode == 2
    assert "holds thesis.txt, which edgedistill did not write" in json.loads(done.stdout)["error"]["message"]
    assert (tmp_path / "mine" / "ios" / "thesis.txt").read_text() == "years of work"


def test_the_trained_state_stands_in_each_file(tiny: Path) -> None:
    import onnx
    import torch
    import torchao.quantization.pt2e.quantize_pt2e  # noqa: F401  registers operators
    from ai_edge_litert import schema_py_generated as schema
    from coremltools.models import MLModel  # noqa: F401
    from onnx import numpy_helper

    from edgedistill.quantize.state import state_tensors

    run = tiny / "runs" / "tiny"
    state = state_tensors(torch.export.load(run / "work" / "programs" / "student-converted.pt2").module(check_guards=False))
    weights = [t.numpy() for name, t in state.items() if name.endswith(".weight")]
    biases = [t.numpy() for name, t in state.items() if name.endswith(".bias")]
    assert (len(weights), len(biases)) == (20, 17), "three average poolings are convolutions without a bias"

    stored = [numpy_helper.to_array(i) for i in onnx.load(run / "artifacts" / "student-int8.onnx").graph.initializer]
    in_onnx = {(a.dtype.str, a.tobytes()) for a in stored}
    assert all((a.dtype.str, a.tobytes()) in in_onnx for a in weights + biases)

    model = schema.ModelT.InitFromPackedBuf((run / "artifacts" / "student-int8.tflite").read_bytes())
    in_litert = {bytes(b.data) for b in model.buffers if b.data is not None}
    assert all(_litert_layout(w).tobytes() in in_litert for w in weights)
    assert all(b.tobytes() in in_litert for b in biases)

    blob = (run / "artifacts" / "student-int8.mlpackage" / "Data" / "com.apple.CoreML" / "weights" / "weight.bin").read_bytes()
    assert all(w.tobytes() in blob for w in weights if w.size > 64)

    blob = (run / "artifacts" / "student-int8.aimodel" / "main.mlirb").read_bytes()
    # A constant of equal values, such as the window of a pooling, is stored as one value.
    assert all(w.tobytes() in blob for w in weights if w.min() != w.max())


def _litert_layout(weight: np.ndarray) -> np.ndarray:
    """OIHW as LiteRT stores it: OHWI, and depthwise 1HWO."""
    if weight.ndim != 4:
        return weight
    depthwise = weight.shape[1] == 1 and weight.shape[0] > 1
    return np.ascontiguousarray(weight.transpose(1, 2, 3, 0) if depthwise else weight.transpose(0, 2, 3, 1))


def test_the_same_command_again_does_nothing_anew(tiny: Path, summary: dict[str, Any]) -> None:
    started = time.monotonic()
    done = edgedistill("run", "tiny.yaml", "--json", cwd=tiny)
    assert time.monotonic() - started < 60
    again = json.loads(done.stdout)
    assert again["artifacts"] == summary["artifacts"]
    assert "teacher:" not in done.stderr


@pytest.mark.slow
def test_a_run_killed_while_training_ends_as_if_it_had_not_been(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    command = [sys.executable, "-m", "edgedistill", "distill", "tiny.yaml", "--json"]
    for step in ("teacher", "student"):
        child = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        waited = time.monotonic()
        while not (tmp_path / "runs" / "tiny" / "work" / step / "checkpoint.safetensors").exists():
            assert child.poll() is None
            assert time.monotonic() - waited < 300
            time.sleep(0.02)
        child.send_signal(signal.SIGKILL)
        child.wait()
    done = edgedistill("distill", "tiny.yaml", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "teacher:" not in done.stderr, "a finished step is not done again"
    for step in ("teacher", "control", "student"):
        name = Path("runs", "tiny", "work", step, "model.safetensors")
        assert (tmp_path / name).read_bytes() == (tiny / name).read_bytes(), step
    assert json.loads(done.stdout)["state"] == json.loads((tiny / "result.json").read_text())["state"]


def test_a_nan_loss_is_one_error_and_leaves_what_was_finished(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    shutil.copytree(tiny / "runs" / "tiny" / "work" / "data", tmp_path / "runs" / "tiny" / "work" / "data")
    shutil.copytree(tiny / "runs" / "tiny" / "work" / "teacher", tmp_path / "runs" / "tiny" / "work" / "teacher")
    shutil.copy(tiny / "runs" / "tiny" / "work" / "run.json", tmp_path / "runs" / "tiny" / "work" / "run.json")
    (tmp_path / "runs" / "tiny" / "work" / "records").mkdir()
    for step in ("data", "teacher"):
        for name in (f"{step}.json", f"{step}.started.json"):
            shutil.copy(tiny / "runs" / "tiny" / "work" / "records" / name, tmp_path / "runs" / "tiny" / "work" / "records" / name)
    (tmp_path / "tiny.yaml").write_text(TINY)
    huge = ["--set", "distill.stages.0.losses.kd.weight=1.0e+38", "--set", "distill.control=false"]
    done = edgedistill("distill", "tiny.yaml", *huge, "--json", cwd=tmp_path)
    assert done.returncode == 2
    assert "student: the loss became" in json.loads(done.stdout)["error"]["message"]
    assert "stage align, epoch 1" in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "runs" / "tiny" / "work" / "records" / "teacher.json").exists()
