"""Any module by the command line: samples from an .npz of named arrays, files judged by each output."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import edgedistill

from edgedistill.errors import UserError
from edgedistill.recipe.loading import load_recipe
from edgedistill.records.manifest import Manifest
from edgedistill.runs import open_run
from edgedistill.steps.distill import prepared_data
from edgedistill.tasks.tensors.samples import is_named, read
from edgedistill.tasks.tensors.task import Tensors

CODE = """import torch
from torch import nn
from torch.nn import functional as F


class Net(nn.Module):
    def __init__(self, width=16, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.conv, self.table, self.head = nn.Conv1d(8, width, 3, 1, 1), nn.Embedding(10, width), nn.Linear(width, 4)

    def forward(self, features, tokens):
        seen = F.relu(self.conv(features))
        return {"scores": self.head(seen.mean(2) + self.table(tokens).mean(1)), "frames": seen.mean(1)}


def net():
    return Net()


def narrow():
    return Net(8, 1)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    (tmp_path / "mine.py").write_text(CODE)
    features = random.normal(0, 1, (24, 8, 20)).astype(np.float32) * random.uniform(0.2, 2, (24, 1, 1)).astype(np.float32)
    np.savez(tmp_path / "samples.npz", features=features, tokens=random.integers(0, 10, (24, 5)))
    (tmp_path / "one.yaml").write_text(
        "name: one\ndescription: One format.\nminimum_os: none\n"
        "artifacts: [{format: onnx, precision: int8}, {format: onnx, precision: fp32}]\n"
    )
    return tmp_path


@pytest.mark.slow
def test_a_module_of_two_inputs_and_a_dict_is_exported_judged_by_each_output_and_bundled(folder: Path) -> None:
    done = edgedistill(
        "export", "--model", "torch:mine:net", "--calibration", "samples.npz", "--target", "one.yaml", "--json", cwd=folder
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    document = json.loads(done.stdout)
    rows = {row["precision"]: row for row in document["artifacts"]}
    assert {row["executed_by"] for row in rows.values()} == {"own_runtime"}
    run = folder / "runs" / "net"
    val = np.flatnonzero(np.load(run / "work" / "data" / "split.npy") == 1)
    for precision, row in rows.items():
        assert row["ok"] is True
        assert set(row["outputs"]) == {"scores", "frames"}
        assert row["score"]["val"]["unavailable"] == "the samples have no targets"
        for error in row["outputs"].values():
            assert error["n"] == 12
            # Twelve samples show ranges that others exceed.
            assert error["largest"] < (1e-4 if precision == "fp32" else 0.15)
            # Nothing is worst, and there is no noise, where the file gives the very numbers of the module.
            assert (error["snr_db"] or 999) > (80 if precision == "fp32" else 20)
            assert error["worst"] is None or error["worst"] in val, "numbered as in the .npz"
        if precision == "int8":
            assert None not in [error[key] for error in row["outputs"].values() for key in ("snr_db", "worst")]
    given = np.load(run / "work" / "val-student-fp32.onnx" / "outputs" / "scores.npy")
    assert given.shape == (12, 4)
    assert given.std() > 0.01
    manifest = Manifest.read(Path(folder, document["bundles"]["one"], "manifest.json"))
    assert [(spec.name, spec.dtype, spec.shape) for spec in manifest.signature.inputs] == [
        ("features", "float32", (1, 8, 20)), ("tokens", "int64", (1, 5)),
    ]  # fmt: skip
    golden = manifest.artifacts[0].golden
    assert (golden.count, set(golden.inputs), set(golden.outputs or {})) == (12, {"features", "tokens"}, {"scores", "frames"})
    page = (run / "report.html").read_text()
    assert "The samples have no targets, so nothing is scored." in page
    assert "Outputs against the model in floating point" in page
    shown = edgedistill("verify", "runs/net/artifacts/student-int8.onnx", "--against", "runs/net", cwd=folder).stdout
    assert "exact, mean" in shown
    assert "flipped" not in shown, "nothing is decided"
    shown = edgedistill("verify", "runs/net", cwd=folder).stdout
    assert "SNR in dB" in shown
    assert "on val" not in shown, "nothing is scored"


VARIES = ("--input", "features=float32[1,8,T]", "--input", "tokens=int64[1,5]")


def test_a_file_that_cannot_hold_the_module_is_refused_before_anything_is_lowered(folder: Path) -> None:
    (folder / "one.yaml").write_text(
        "name: one\ndescription: One format.\nminimum_os: none\n"
        "artifacts: [{format: litert, precision: fp32}, {format: litert, precision: int8}]\n"
    )
    done = edgedistill("export", "--model", "torch:mine:net", "--calibration", "samples.npz", "--target", "one.yaml", *VARIES, cwd=folder)
    assert done.returncode == 2
    for name in ("student-fp32.tflite", "student-int8.tflite"):
        assert f"{name}: features=float32[1,8,T] has a dimension that varies" in done.stderr
    assert not list((folder / "runs" / "net").glob("artifacts/*"))


@pytest.mark.slow
def test_what_one_format_cannot_hold_costs_the_others_nothing(folder: Path) -> None:
    for name, form in (("phone", "litert"), ("server", "onnx")):
        (folder / f"{name}.yaml").write_text(
            f"name: {name}\ndescription: One format.\nminimum_os: none\nartifacts: [{{format: {form}, precision: fp32}}]\n"
        )
    asked = ("export", "--model", "torch:mine:net", "--calibration", "samples.npz", *VARIES, "--json")
    done = edgedistill(*asked, "--target", "phone.yaml", "--target", "server.yaml", cwd=folder)
    assert done.returncode == 3, done.stderr[-3000:]
    document = json.loads(done.stdout)
    assert [(row["name"], row["ok"]) for row in document["artifacts"]] == [("student-fp32.onnx", True)]
    (missing,) = document["not_lowered"]
    assert (missing["name"], missing["format"], missing["precision"]) == ("student-fp32.tflite", "litert", "fp32")
    assert "has a dimension that varies" in missing["reason"]
    assert list(document["bundles"]) == ["server"]
    page = (folder / "runs" / "net" / "report.html").read_text()
    assert "student-fp32.tflite was not lowered: features=float32[1,8,T] has a dimension that varies" in page
    shown = edgedistill(*asked[:-1], "--target", "phone.yaml", "--target", "server.yaml", cwd=folder)
    assert "CHECK FAILED: student-fp32.tflite was not lowered" in shown.stdout
    checked = edgedistill("verify", "runs/net", cwd=folder)
    assert checked.returncode == 3
    assert "CHECK FAILED: student-fp32.tflite was not lowered" in checked.stdout
    assert edgedistill(*asked, "--target", "server.yaml", cwd=folder).returncode == 0


DISTILL = """
name: taught
task: tensors
data: {npz: samples.npz, batch_size: 8}
teacher: {torch: "mine:net"}
student: {torch: "mine:narrow"}
distill:
  stages:
    - {name: align, epochs: 20, lr: 1.0e-2, losses: {mse: {}, hint: {layer: conv, teacher_layer: conv, weight: 0.1}}}
    - {name: qat, epochs: 2, lr: 1.0e-3}
"""


@pytest.mark.slow
def test_a_module_learns_the_outputs_and_features_of_another(folder: Path) -> None:
    (folder / "taught.yaml").write_text(DISTILL)
    done = edgedistill("distill", "taught.yaml", "--trust-code", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    summary = json.loads(done.stdout)
    scores = {row["rung"]: row["score"]["val"]["value"] for row in summary["ladder"]}
    assert set(scores) == {"teacher", "student", "fake_quant", "converted", "integer"}
    assert scores["teacher"] == 1
    assert "distill.control" not in summary["verdict"]["text"], "it would be refused"
    first, *_, last = [epoch["val_fit"] for epoch in summary["curves"]["student"] if epoch["stage"] == "align"]
    assert last > first + 0.02
    assert scores["integer"] > scores["student"] - 0.05
    assert set(summary["curves"]["student"][0]["losses"]) == {"mse", "hint"}
    wrong = DISTILL.replace("distill:\n", "distill:\n  control: true\n")
    (folder / "taught.yaml").write_text(wrong)
    done = edgedistill("distill", "taught.yaml", "--trust-code", cwd=folder)
    assert done.returncode == 2
    assert "control: false, since the samples have no targets" in done.stderr


def test_data_of_another_layout_are_prepared_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    recipe = load_recipe({"name": "taught", **yaml.safe_load(DISTILL)}, trust_code=True)
    with open_run(folder / "run") as run:
        prepared_data(run, recipe)
        split = run.work("data", "split.npy")
        written = split.stat().st_mtime_ns
        prepared_data(run, recipe)
        assert split.stat().st_mtime_ns == written
        monkeypatch.setattr(Tensors, "data_version", 2)
        prepared_data(run, recipe)
        assert split.stat().st_mtime_ns > written
        assert split.exists()


def test_inputs_that_do_not_fit_the_samples_are_refused_together(folder: Path) -> None:
    with pytest.raises(UserError) as raised:
        read(folder / "samples.npz", ["features=float32[1,9,T]", "tokens=int32[1,5]", "mask=bool[1,5]"])
    for text in (
        "found features of float32[N,8,20], expected rows of features=float32[1,9,T]",
        "found tokens of int64[N,5], expected rows of tokens=int32[1,5]",
        "found no array for the input mask=bool[1,5], only features, tokens",
    ):
        assert text in str(raised.value)


def test_samples_say_the_sizes_that_vary_and_may_say_their_split(folder: Path) -> None:
    samples = read(folder / "samples.npz", ["features=float32[1,8,T]"])
    assert samples.sizes == {"T": 20}
    assert samples.split is None
    with np.load(folder / "samples.npz") as arrays:
        np.savez(folder / "split.npz", **arrays, split=np.arange(24) % 3)
        np.savez(folder / "wrong.npz", **arrays, split=np.full(24, 3))
    given = read(folder / "split.npz")
    assert ([spec.name for spec in given.inputs], given.split.tolist()[:4]) == (["features", "tokens"], [0, 1, 2, 0])
    with pytest.raises(UserError, match=r"found split of shape \[24\], expected 0, 1 or 2"):
        read(folder / "wrong.npz")


def test_labelled_images_are_not_named_arrays(folder: Path) -> None:
    np.savez(folder / "digits.npz", images=np.zeros((4, 8, 8), np.uint8), labels=np.zeros(4, np.int64))
    assert not is_named(folder / "digits.npz")
    assert is_named(folder / "samples.npz")
    with np.errstate(all="ignore"):
        np.savez(folder / "broken.npz", x=np.array([[1.0], [np.nan], [2], [3]], np.float32))
    with pytest.raises(UserError, match="x holds values that are NaN or infinite"):
        read(folder / "broken.npz")
