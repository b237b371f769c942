"""A trained model that is brought along: quantized after training, verified like a student."""

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import edgedistill
from safetensors.torch import save_file
from torch import nn

from edgedistill.errors import UserError
from edgedistill.recipe.base import RecipeError
from edgedistill.signature import Signature
from edgedistill.steps import flow
from edgedistill.tasks.user_model import UserModel, recipe_of

CODE = """from torch import nn

def net():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU6(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
    )

def pair():
    class Two(nn.Module):
        def forward(self, x):
            return x, x
    return Two()

def branching():
    class Branching(nn.Module):
        def forward(self, x):
            return x.mean((2, 3)) if x.sum() > 0 else x.amax((2, 3))
    return Branching()
"""


def network() -> nn.Module:
    scope: dict[str, Any] = {}
    exec(CODE, scope)
    torch.manual_seed(0)
    model = scope["net"]()
    # Outputs that differ between images without any training.
    for layer in model:
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.normal_(layer.weight, std=0.5)
    return model


@pytest.fixture(scope="module")
def brought(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the model, its weights, images without labels in images/, and its finished export in runs/net."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("brought")
    (folder / "carried.py").write_text(CODE)
    save_file({name: value.contiguous() for name, value in network().state_dict().items()}, folder / "carried.safetensors")
    rng = np.random.default_rng(0)
    (folder / "images").mkdir()
    for number in range(80):
        coarse = rng.integers(0, 256, (4, 4, 3), np.uint8)
        Image.fromarray(coarse).resize((32, 32), Image.Resampling.BICUBIC).save(folder / "images" / f"{number}.png")
    (folder / "onnx.yaml").write_text(
        "name: plain\ndescription: One format.\nminimum_os: none\n"
        "artifacts: [{format: onnx, precision: int8}, {format: onnx, precision: fp32}]\n"
    )
    done = export(folder, "--checkpoint", "carried.safetensors", "--json")
    assert done.returncode == 0, done.stderr[-3000:]
    (folder / "result.json").write_text(done.stdout)
    return folder


def export(folder: Path, *more: object) -> Any:
    common = (
        "--model",
        "torch:carried:net",
        "--calibration",
        "images",
        "--image-size",
        32,
        "--mean",
        "0.5,0.5,0.5",
        "--std",
        "0.25,0.25,0.25",
    )
    normalisation = ("--mean", "0.5,0.5,0.5", "--std", "0.25,0.25,0.25")
    return edgedistill("export", *common, *normalisation, "--target", "onnx.yaml", *more, cwd=folder)


def test_it_is_verified_with_the_weights_of_the_checkpoint_and_its_normalisation(brought: Path) -> None:
    document = json.loads((brought / "result.json").read_text())
    assert document["status"] == "ok"
    assert {a["name"]: a["ok"] for a in document["artifacts"]} == {"student-int8.onnx": True, "student-fp32.onnx": True}
    run = brought / "runs" / "net"
    images = np.load(run / "work" / "programs" / "samples" / "image.npy")
    assert len(images) == 40
    model = network().eval()
    with torch.no_grad():
        expected = model((torch.from_numpy(images) - 0.5) / 0.25).numpy()
    assert np.allclose(np.load(run / "work" / "programs" / "rungs" / "student" / "logits.npy"), expected, atol=1e-4)
    scale = json.loads((run / "work" / "records" / "programs.json").read_text())["result"]["output_scale"]["logits"]
    found = np.load(run / "work" / "val-student-int8.onnx" / "outputs" / "logits.npy")
    # Calibrated ranges: a wrong one would be off by many steps.
    assert np.abs(found - expected).mean() < 2 * scale
    assert expected.std(axis=0).min() > 6 * scale, "else constant outputs would pass as well"


def test_calibration_sees_all_of_the_images_and_not_the_first(brought: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgedistill.quantize import after_training

    shown: list[np.ndarray] = []

    class Seen(Exception):
        pass

    def calibrate(model: nn.Module, signature: Signature, batches: Iterable[tuple[torch.Tensor]], *, any_batch: bool) -> None:
        assert any_batch
        shown.append(np.concatenate([images.numpy() for (images,) in batches]))
        raise Seen

    monkeypatch.chdir(brought)
    monkeypatch.setattr(after_training, "calibrate", calibrate)
    loaded = recipe_of(UserModel("torch:carried:net", Path("images"), image_size=32, name="few"), ["onnx.yaml"])
    few = loaded.recipe.model_copy(update={"quantize": loaded.recipe.quantize.model_copy(update={"calibration": 4})})
    with pytest.raises(UserError, match="Seen"):
        flow.distill(replace(loaded, recipe=few), Path("runs"))
    folder = brought / "runs" / "few" / "work" / "data"
    train = np.load(folder / "images.npy")[np.load(folder / "split.npy") == 0]
    assert np.array_equal(np.rint(shown[0] * 255), train[[0, 13, 26, 39]])


def test_without_labels_accuracy_is_unavailable_and_flips_are_not(brought: Path) -> None:
    summary = json.loads((brought / "runs" / "net" / "summary.json").read_text())
    int8 = next(a for a in summary["artifacts"] if a["precision"] == "int8")
    missing = {"value": None, "unavailable": "the images have no labels"}
    assert int8["score"]["val"] == missing
    assert int8["quantization"]["difference"] == missing
    assert int8["quantization"]["n"] == 40
    assert summary["verdict"]["outcome"] == "unavailable"
    assert "nothing was distilled" in summary["verdict"]["text"]
    assert summary["teacher"] is None
    converted = next(row for row in summary["ladder"] if row["rung"] == "converted")
    assert converted["drop_from"] == "student"
    assert "unavailable" in (brought / "runs" / "net" / "report.html").read_text()


def test_the_bundle_numbers_the_outputs(brought: Path) -> None:
    manifest = json.loads((brought / "runs" / "net" / "bundles" / "plain" / "manifest.json").read_text())
    assert manifest["labels"] == ["0", "1", "2", "3"]
    assert manifest["signature"]["methods"]["forward"]["outputs"][0]["shape"] == [1, 4]
    assert manifest["model"]["name"] == "carried:net"


UNFIT = {"torch:carried:pair": "expected one tensor of logits", "torch:carried:branching": "can't take"}


@pytest.mark.parametrize(("model", "said"), UNFIT.items())
def test_a_model_that_does_not_fit_is_refused_with_the_reason(
    brought: Path, monkeypatch: pytest.MonkeyPatch, model: str, said: str
) -> None:
    monkeypatch.chdir(brought)
    loaded = recipe_of(UserModel(model, Path("images"), image_size=32), ["onnx.yaml"])
    with pytest.raises(UserError, match=said):
        flow.export_model(loaded, Path("runs"), ["onnx.yaml"])


def test_wrong_options_are_reported_together_by_their_names(tmp_path: Path) -> None:
    wrong = UserModel("torch:carried", tmp_path / "none", checkpoint=Path("a.pt"), image_size=4, mean=(0.0, 0.0), name="a b")
    with pytest.raises(RecipeError) as raised:
        recipe_of(wrong, ["linx"])
    told = [error.split(":")[0] for error in raised.value.errors]
    assert told == ["--calibration", "--checkpoint", "--image-size", "--mean", "--model", "--name", "--target"]


def test_class_folders_give_labels_and_a_flat_folder_none(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert set(recipe_of(UserModel("torch:m:f", tmp_path), []).effective()["data"]["source"]) == {"imagefolder"}
    (tmp_path / "x.png").touch()
    assert set(recipe_of(UserModel("torch:m:f", tmp_path), []).effective()["data"]["source"]) == {"images"}


def test_options_of_a_model_without_one_are_refused(tmp_path: Path) -> None:
    done = edgedistill("export", "--calibration", "images", cwd=tmp_path)
    assert done.returncode == 2
    assert "--calibration without --model" in done.stderr
