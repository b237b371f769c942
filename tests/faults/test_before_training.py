"""Whatever can be known of a recipe is told before the first step trains, all together."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from conftest import CLASSIFIER
from safetensors.torch import save_file

from edgedistill.distill import stages as stages_of_training
from edgedistill.errors import UserError
from edgedistill.recipe.base import RecipeError
from edgedistill.recipe.loading import load_recipe
from edgedistill.signature import Signature, TensorSpec
from edgedistill.steps import distill, flow, rehearsal, teach


@pytest.fixture(autouse=True)
def untrained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing may be trained or asked."""

    def too_late(*_: Any, **__: Any) -> None:
        pytest.fail("a step began that trains or teaches")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(teach, "train_teachers", too_late)
    monkeypatch.setattr(distill.teach, "teach", too_late)

    images = np.random.default_rng(0).integers(0, 256, (40, 16, 16), np.uint8)
    np.savez(tmp_path / "few.npz", images=images, labels=np.arange(40) % 2)


FIELDS: dict[str, Any] = {
    "name": "wrong",
    "data": {"source": {"npz": "few.npz"}, "image_size": 32, "batch_size": 8},
    "teacher": {"model": "test_resnet", "train": {"epochs": 1}},
    "student": {"model": "test_resnet"},
}


def told(fields: dict[str, Any], **options: Any) -> list[str]:
    with pytest.raises(RecipeError) as error:
        flow.distill(load_recipe(FIELDS | fields, **options), "runs")
    return [text.removeprefix("the recipe: ") for text in error.value.errors]


def stages(losses: dict[str, Any]) -> dict[str, Any]:
    return {"stages": [{"name": "align", "losses": {"kd": {}, **losses}}, {"name": "qat"}]}


def test_models_that_do_not_exist_are_told_before_the_data_are_prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distill, "prepared_data", lambda *_: pytest.fail("the data were prepared"))
    members = [
        {"name": "a", "model": "resnet18x"},
        {"name": "b", "model": "vit_tiny_patch16_224.nobodys", "pretrained": True, "train": None},
    ]
    wrong = told({"student": {"model": "mobilenet_v9"}, "teacher": {"members": members}, "distill": {"trackers": ["wandb", "mlflow"]}})
    assert [text.partition(":")[0] for text in wrong] == [
        "student.model",
        "teacher.members.0.model",
        "teacher.members.1.model",
        "distill.trackers",
    ]
    assert "timm has no model 'resnet18x'; did you mean resnet18" in wrong[1]
    assert "timm has no weights 'vit_tiny_patch16_224.nobodys'; it has vit_tiny_patch16_224." in wrong[2]


def test_layers_of_all_losses_of_both_models_are_told_together() -> None:
    losses = {"hint": {"layer": "nowhere", "teacher_layer": "layer9"}, "attention_transfer": {"layer": "fc"}, "rkd": {}}
    wrong = told({"distill": stages(losses)})
    assert [text.partition(":")[0] for text in wrong] == [
        f"distill.stages.0.losses.{field}" for field in ("hint.layer", "attention_transfer.layer", "hint.teacher_layer")
    ]
    assert "has no module 'nowhere'" in wrong[0]
    assert "expected a feature map" in wrong[1]


def test_maps_that_cannot_be_compared_are_told() -> None:
    (wrong,) = told({"distill": stages({"attention_transfer": {}}), "data": FIELDS["data"] | {"image_size": 16}})
    assert wrong.startswith("distill.stages.0.losses.attention_transfer: attention_transfer compares places of feature maps")


@pytest.mark.parametrize("role", ["student", "teacher"])
def test_a_checkpoint_that_does_not_fit_is_told(role: str, tmp_path: Path) -> None:
    save_file({"fc.weight": torch.zeros(3, 3)}, tmp_path / "other.safetensors")
    (tmp_path / "damaged.safetensors").write_bytes(b"\xff" * 100)
    for name, text in (("other", "does not fit test_resnet: missing "), ("damaged", "not a readable safetensors checkpoint")):
        config = {"model": "test_resnet", "checkpoint": str(tmp_path / f"{name}.safetensors")}
        (wrong,) = told({role: config | ({"train": None} if role == "teacher" else {})})
        assert wrong.startswith(f"{role}: ")
        assert text in wrong


def test_arguments_and_sizes_that_a_model_does_not_take_are_told() -> None:
    # This transformer has positions for 224 px.
    wrong = told({"teacher": {"model": "vit_tiny_patch16_224"}, "student": {"model": "test_resnet", "arguments": {"no_such": 1}}})
    assert "does not take the arguments {'no_such': 1}" in wrong[0]
    assert wrong[1].startswith("teacher: found AssertionError: Input height (32) doesn't match model (224)")


def test_classes_and_folders_of_teachers_are_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    members = [
        {"name": "a", "model": "test_resnet", "checkpoint": _weights(tmp_path, 2), "train": None, "classes": ["cat", "dog"]},
        {"name": "b", "hf": str(tmp_path / "empty")},
        {"name": "c", "torch": "no_such_module:make"},
    ]
    wrong = told({"teacher": {"members": members}}, trust_code=True)
    assert len(wrong) >= 3
    assert any("teacher a: none of its classes (cat, dog, ...) is a class of the data" in text for text in wrong)
    assert any("is no image classifier that transformers can load" in text for text in wrong)
    assert any("no_such_module:make can't be loaded" in text for text in wrong)


def _branching(self: Any, images: torch.Tensor) -> torch.Tensor:
    """The forward of a model that torch.export can't take."""
    features = self.forward_features(images)
    return self.forward_head(features if features.sum() > 0 else -features)


@pytest.mark.parametrize("role", ["student", "teacher"])
def test_a_model_that_cannot_be_exported_is_told(role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from timm.models.byobnet import ByobNet

    monkeypatch.setattr(ByobNet, "forward", _branching)
    (wrong,) = told({role: FIELDS[role] | {"model": "test_byobnet"}})
    assert wrong.startswith(f"{role}: test_byobnet: torch.export or PT2E can't take the model (")
    # What the stage `qat` would say, hours later.
    image = TensorSpec(name="image", shape=(1, 3, 32, 32))
    signature = Signature(methods={"forward": CLASSIFIER.model_copy(update={"inputs": (image,)})})
    recipe = load_recipe(FIELDS | {"student": FIELDS["student"] | {"model": "test_byobnet"}}).recipe
    with pytest.raises(UserError, match=r"test_byobnet: torch\.export or PT2E can't take the model \("):
        stages_of_training.prepared(timm.create_model("test_byobnet"), signature, recipe, recipe.learning.qat)


def _weights(folder: Path, classes: int) -> str:
    save_file(timm.create_model("test_resnet", num_classes=classes).state_dict(), folder / "teacher.safetensors")
    return str(folder / "teacher.safetensors")


def test_formats_whose_packages_are_missing_are_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load_recipe(FIELDS).recipe
    assert rehearsal.not_made(recipe) == []
    monkeypatch.setattr(rehearsal, "installed", lambda names: {name: "1" for name in names if name != "coremltools"})
    (text,) = rehearsal.not_made(recipe)
    assert text == "no .mlpackage file can be made here, since coremltools is not installed; the others are made"


def test_the_line_of_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("name: x\nseed: 0\nstudent:\n  model: mobilenet_v9\n")
    with pytest.raises(RecipeError, match=r"r\.yaml:4: student\.model: timm has no model 'mobilenet_v9'"):
        flow.distill("r.yaml", "runs")
