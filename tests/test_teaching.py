"""Recipes of several teachers, features and unlabelled images, from the command line."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import edgedistill
from safetensors import safe_open
from sklearn.datasets import load_digits

from edgedistill.distill.lesson import Lesson, Stage
from edgedistill.distill.trainer import Options, fit
from edgedistill.errors import UserError
from edgedistill.recipe.schema import Recipe
from edgedistill.run import Step
from edgedistill.steps.teach import train_teachers
from edgedistill.tasks.image_classification.dataset import ImageDataset
from edgedistill.tasks.image_classification.imageset import ImageSet
from edgedistill.tasks.image_classification.models import build_model, signature
from edgedistill.tasks.image_classification.recipe.data import Augment
from edgedistill.tasks.image_classification.recipe.losses import ClassificationLosses
from edgedistill.tasks.image_classification.task import IMAGE_CLASSIFICATION
from edgedistill.tasks.image_classification.teachers import ModuleTeacher, Outputs
from edgedistill.teach.signals import TeacherSignals

RECIPE = """# edgedistill distill two.yaml
name: two
data: {source: {npz: digits.npz}, image_size: 32, batch_size: 32, views: 2}
teacher:
  members:
    - {name: small, model: test_resnet, train: {epochs: 3, lr: 3.0e-3}}
    - {name: other, hf: vit, train: {epochs: 2, lr: 1.0e-3}}
  merge: learned
student: {model: test_resnet}
distill:
  stages:
    - {name: align, epochs: 2, lr: 3.0e-3, online: true, mixup: true, losses: {kd: {}}}
    - {name: finetune, epochs: 1, lr: 1.0e-3}
    - {name: qat, epochs: 1, lr: 2.0e-4}
targets: [linux]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """600 digits, half of the training images without a label."""
    folder = tmp_path_factory.mktemp("teaching")
    digits = load_digits()
    labels, split = digits.target[:600].copy(), np.repeat([0, 1, 2], [400, 100, 100])
    labels[:200] = -1
    np.savez(folder / "digits.npz", images=np.round(digits.images[:600] * 15).astype(np.uint8), labels=labels, split=split)
    (folder / "two.yaml").write_text(RECIPE)
    save_vit(folder / "vit")
    return folder


def save_vit(folder: Path) -> None:
    """A tiny vision transformer as transformers saves it, with a classifier of other classes."""
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    torch.manual_seed(0)
    config = ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, image_size=32, patch_size=8)
    ViTForImageClassification(config).save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)


@pytest.mark.slow
def test_two_teachers_with_learned_weights_teach_images_without_labels(folder: Path) -> None:
    done = edgedistill("distill", "two.yaml", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr[-2000:]
    summary = json.loads(done.stdout)
    assert summary["data"]["unlabelled"] == 200
    members = summary["teacher"]["members"]
    assert [m["name"] for m in members["list"]] == ["small", "other"]
    assert sum(m["weight"] for m in members["list"]) == pytest.approx(1)
    (pair,) = members["disagreement"]
    assert 0 <= pair["share"] < 1
    assert members["teaching_set"]["samples"] == 400
    assert members["teaching_set"]["labelled"] == 200
    assert summary["teacher"]["score"]["val"]["n"] == 100
    assert {"teacher-small", "teacher-other", "control", "student"} <= set(summary["curves"])
    assert (folder / "runs/two/work/teaching-set/teaching-set.csv").read_text().startswith("sample,label,teacher,confidence")
    assert "How far the teachers disagree on val" in (folder / "runs/two/report.html").read_text()


LAYERS = {"layer": "layer2", "teacher_layer": "blocks.2"}


def lesson() -> Lesson:
    images = np.random.default_rng(0).integers(0, 255, (40, 3, 32, 32), dtype=np.uint8)
    indices = {"train": np.arange(32), "val": np.arange(32, 40), "holdout": np.arange(0)}
    data = ImageSet("test", ["a", "b"], images, np.arange(40) % 2, indices, "d", {})
    teacher = ModuleTeacher(
        build_model("test_efficientnet", 2, seed=1),
        ["logits", "features", "features:blocks.2", "embedding"],
        Outputs("t", None, data.classes),
    )
    signals = TeacherSignals([], [teacher], None)
    return Lesson(IMAGE_CLASSIFICATION, signature(32, 2), ImageDataset(data, Augment(), 0), 2, 8, 0, signals)


def test_a_stage_of_features_goes_on_with_its_projectors_after_it_was_interrupted(tmp_path: Path) -> None:
    losses = ClassificationLosses.model_validate(
        {"hint": {}, "crd": {}, "attention_transfer": {"layer": "layer2", "teacher_layer": "blocks.2"}, "rkd": {}}
    )
    stages = [Stage("hints", 2, 1e-3, losses, online=True)]

    def train(path: Path, stop: float = 2.0) -> dict[str, torch.Tensor]:
        def at(fraction: float) -> None:
            if fraction >= stop:
                raise KeyboardInterrupt

        module = build_model("test_resnet", 2, seed=0)
        fit(module, lesson(), stages, name="student", path=path, options=Options(), at=at)
        return module.state_dict()

    whole = train(tmp_path / "whole.safetensors")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "half.safetensors", stop=0.6)
    resumed = train(tmp_path / "half.safetensors")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    with safe_open(tmp_path / "whole.safetensors", "pt") as file:
        assert {"criterion.projectors.hint.weight", "criterion.projectors.crd_teacher.weight"} <= set(file.keys())


def test_a_teacher_is_trained_anew_in_another_precision_and_one_that_is_given_is_not() -> None:
    seen = []

    class State:
        def step(self, step: Step, work: object, *, together: bool) -> dict:
            seen.append(step.inputs)
            return {"sha256": "x"}

    for train in ({"epochs": 1}, None):
        for precision in ("fp32", "bf16"):
            teacher, distill = {"model": "test_resnet", "train": train, "pretrained": train is None}, {"precision": precision}
            recipe = Recipe.model_validate({"name": "x", "teacher": teacher, "distill": distill})
            train_teachers(State(), recipe, lesson(), {})  # type: ignore[arg-type]
    assert seen[0] != seen[1]
    assert seen[2] == seen[3]


def test_attention_over_maps_of_one_place_is_refused(tmp_path: Path) -> None:
    stages = [Stage("hints", 1, 1e-3, ClassificationLosses.model_validate({"attention_transfer": {}}), online=True)]
    with pytest.raises(UserError, match="found 1 x 1 of the student and 1 x 1 of the teacher, expected 2 x 2 or more"):
        fit(build_model("test_resnet", 2), lesson(), stages, name="student", path=tmp_path / "x.safetensors", options=Options())


def test_the_control_sees_labelled_images_alone_in_as_many_steps() -> None:
    few = lesson()
    images = few.data.images
    labels = images.labels.copy()
    labels[4:32] = -1
    few = replace(few, data=ImageDataset(replace(images, labels=labels), Augment(), 0))
    alone = replace(few, with_targets_only=True)
    assert len(few.order(0)) == len(alone.order(0)) == 4
    assert set(np.concatenate(alone.order(0)).tolist()) == {0, 1, 2, 3}
    assert sorted(np.concatenate(few.order(0)).tolist()) == list(range(32))
