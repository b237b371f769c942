"""`export --model hf:FOLDER`: a model of Hugging Face says its task, labels and preprocessing itself."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from conftest import edgedistill
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    BertConfig,
    BertForQuestionAnswering,
    ConvNextConfig,
    ConvNextForImageClassification,
    ConvNextImageProcessor,
    DeiTImageProcessor,
    EfficientNetImageProcessor,
    MobileNetV2Config,
    MobileNetV2ForImageClassification,
    MobileNetV2ImageProcessor,
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
    ViTModel,
)

from edgedistill import tasks
from edgedistill.errors import UserError
from edgedistill.recipe.base import RecipeError
from edgedistill.tasks import hub_models
from edgedistill.tasks.image_classification.decoding import fitted
from edgedistill.tasks.image_classification.hub_model import hub_model, labels
from edgedistill.tasks.image_classification.recipe.data import Data, Resize
from edgedistill.tasks.user_model import UserModel, recipe_of

# Neither sorted nor without repetition, as labels of ImageNet.
LABELS = ["kind 2", "crane", "kind 1", "crane"]
NUMBERED = dict(enumerate(LABELS))
SQUARE = {"height": 32, "width": 32}
SIZES = ((61, 43), (500, 333), (640, 211), (97, 97), (33, 30))
SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
TINY: dict[str, Callable[[], tuple[Any, Any]]] = {
    # As microsoft/resnet-50: the shorter side to 36, bicubic, and the middle 32.
    "resnet": lambda: (
        ResNetForImageClassification(
            ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", id2label=NUMBERED)
        ),
        ConvNextImageProcessor(
            size={"shortest_edge": 32}, crop_pct=0.875, resample=3, image_mean=[0.4, 0.5, 0.6], image_std=[0.2, 0.3, 0.4]
        ),
    ),
    # As google/vit-base-patch16-224: stretched.
    "vit": lambda: (
        ViTForImageClassification(ViTConfig(**SMALL, image_size=32, patch_size=8, id2label=NUMBERED)),
        ViTImageProcessor(size=SQUARE),
    ),
    "mobilenet": lambda: (
        MobileNetV2ForImageClassification(MobileNetV2Config(image_size=32, depth_multiplier=0.25, id2label=NUMBERED)),
        MobileNetV2ImageProcessor(size={"shortest_edge": 37}, crop_size={"height": 32, "width": 32}),
    ),
    "convnext": lambda: (
        ConvNextForImageClassification(ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2, image_size=32, id2label=NUMBERED)),
        ConvNextImageProcessor(size={"shortest_edge": 32}),
    ),
}
RESIZES = {
    "resnet": Resize(side=36, filter="cubic", odd_margin="down"),
    "vit": Resize(side=32, stretch=True, odd_margin="down"),
    "mobilenet": Resize(side=37, odd_margin="down"),
    "convnext": Resize(side=36, filter="cubic", odd_margin="down"),
}


def saved(folder: Path, model: Any, processor: Any) -> Path:
    """A model whose outputs differ between images without any training."""
    torch.manual_seed(0)
    for layer in model.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.normal_(layer.weight, std=1.2 / layer.weight[0].numel() ** 0.5)
    model.save_pretrained(folder)
    if processor is not None:
        processor.save_pretrained(folder)
    return folder


def made(folder: Path, kind: str) -> Path:
    torch.manual_seed(0)
    return saved(folder / kind, *TINY[kind]())


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("models"), "resnet")


@pytest.fixture
def copy(resnet: Path, tmp_path: Path) -> Path:
    return shutil.copytree(resnet, tmp_path / "resnet")


def edited(path: Path, **fields: Any) -> None:
    found = {key: value for key, value in (json.loads(path.read_text()) | fields).items() if value is not None}
    path.write_text(json.dumps(found))


def picture(number: int, width: int, height: int) -> Image.Image:
    rng = np.random.default_rng(number)
    coarse = Image.fromarray(rng.integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), np.uint8))
    noise = rng.integers(-25, 26, (height, width, 3))
    pixels = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(int) + noise
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def ours(data: Data, image: Image.Image) -> np.ndarray:
    """What the model sees of an image, normalised, float64 [3, S, S]."""
    pixels = np.asarray(fitted(image, data.image_size, data.resize), np.float64).transpose(2, 0, 1) / 255
    return (pixels - np.array(data.mean)[:, None, None]) / np.array(data.std)[:, None, None]


def largest(data: Data, image: Image.Image, processor: Any) -> float:
    """The largest difference from what a processor gives, of 255."""
    theirs = processor(image, return_tensors="np")["pixel_values"][0]
    return float((np.abs(theirs - ours(data, image)) * np.array(data.std)[:, None, None]).max() * 255)


def data_of(folder: Path) -> Data:
    return Data(**hub_model(folder).data)


# The lookup


@pytest.mark.parametrize("kind", TINY)
def test_task_labels_and_preprocessing_are_found(tmp_path: Path, kind: str) -> None:
    folder = made(tmp_path, kind)
    assert hub_models.task_of(folder) is tasks.task("image-classification")
    assert hub_model(folder).student == {"classes": LABELS}
    data = data_of(folder)
    assert (data.image_size, data.resize) == (32, RESIZES[kind])
    for backend, allowed in (("pil", 1), ("torchvision", 2 if data.resize.filter == "cubic" else 1)):
        processor = transformers.AutoImageProcessor.from_pretrained(folder, backend=backend)
        assert processor.backend == backend
        assert max(largest(data, picture(i, *size), processor) for i, size in enumerate(SIZES)) < allowed + 0.01


@pytest.mark.parametrize(
    "processor",
    [
        # facebook/convnext-tiny-384 stretches, and facebook/deit crops what was stretched.
        ConvNextImageProcessor(size={"shortest_edge": 384}),
        DeiTImageProcessor(size={"height": 40, "width": 40}, crop_size={"height": 35, "width": 35}),
        ViTImageProcessor(size=SQUARE, do_normalize=False),
        ViTImageProcessor(size=SQUARE, do_rescale=False, image_mean=[120.0, 110.0, 100.0], image_std=[60.0, 61.0, 62.0]),
        ViTImageProcessor(size=SQUARE, rescale_factor=1 / 127.5, image_mean=[1.0] * 3, image_std=[0.9] * 3),
    ],
    ids=["384", "deit", "not-normalised", "bytes", "factor"],
)
def test_other_processors_are_done_exactly(tmp_path: Path, copy: Path, processor: Any) -> None:
    processor.save_pretrained(copy)
    pillow = transformers.AutoImageProcessor.from_pretrained(copy, backend="pil")
    # Images that Pillow 13 resizes along their width first, as the kit does with all.
    assert max(largest(data_of(copy), picture(i, *size), pillow) for i, size in enumerate(SIZES)) < 1.01


@pytest.mark.parametrize(
    ("processor", "field"),
    [
        (ViTImageProcessor(resample=0), "resample: found 0 (nearest), expected 2 (bilinear) or 3 (bicubic)"),
        (ViTImageProcessor(size={"height": 32, "width": 48}), "size: found height 32 and width 48, expected a square"),
        (ViTImageProcessor(do_resize=False), "do_resize: found false"),
        (ViTImageProcessor(do_pad=True, pad_size={"height": 300, "width": 300}), "do_pad: found True"),
        (MobileNetV2ImageProcessor(do_center_crop=False), "do_center_crop: found false beside shortest_edge"),
        (MobileNetV2ImageProcessor(size={"shortest_edge": 200}), "crop_size: found 224, expected at most size, 200"),
        (ViTImageProcessor(image_mean=[0.5], image_std=[0.5]), "image_mean: found 1 values, expected 3"),
        # Normalises twice, which no field of this name tells.
        (EfficientNetImageProcessor(include_top=True, resample=3), "EfficientNetImageProcessor makes of an image of 61 x 43 pixels"),
        # Its class resizes to 256 / 224 of the size.
        (transformers.LevitImageProcessor(), "LevitImageProcessor makes of an image of 61 x 43 pixels pixels that differ by"),
        (transformers.MobileViTImageProcessor(), "do_flip_channel_order: found True, expected false"),
    ],
)
def test_what_cannot_be_done_exactly_is_refused_by_its_field(copy: Path, processor: Any, field: str) -> None:
    processor.save_pretrained(copy)
    with pytest.raises(UserError) as error:
        hub_model(copy)
    assert str(error.value).startswith(f"{copy / 'preprocessor_config.json'}: ")
    assert field in str(error.value)


def test_a_processor_is_needed(copy: Path) -> None:
    (copy / "preprocessor_config.json").unlink()
    with pytest.raises(UserError, match=r"found no preprocessor_config\.json.*AutoImageProcessor\.save_pretrained"):
        hub_model(copy)


def test_a_label_that_is_missing_is_an_error(copy: Path) -> None:
    edited(copy / "config.json", id2label={"0": "a", "1": "b", "3": "d"}, label2id=None)
    with pytest.raises(UserError, match=r"id2label: found 3 labels without 2, expected one for each output"):
        labels(copy)


def test_labels_are_in_the_order_of_their_numbers(copy: Path) -> None:
    edited(copy / "config.json", id2label={"2": "c", "0": "a", "3": "d", "1": "b"}, label2id=None)
    assert labels(copy) == ["a", "b", "c", "d"]


def test_other_tasks_are_refused_with_what_is_supported(tmp_path: Path, copy: Path) -> None:
    text = BertForQuestionAnswering(BertConfig(**SMALL, vocab_size=20))
    features = ViTModel(ViTConfig(**SMALL, image_size=32, patch_size=16))
    folder = saved(tmp_path / "answers", text, None)
    with pytest.raises(UserError, match=r"expected one for image-classification \(the task image-classification\)") as error:
        hub_models.task_of(folder)
    assert "BertForQuestionAnswering, a model for question-answering" in str(error.value)
    folder = saved(tmp_path / "features", features, None)
    with pytest.raises(UserError, match="found no tokenizer"):
        hub_models.task_of(folder).hub_model(folder)
    for change, said in (
        ({"architectures": None}, "found the architectures None"),
        ({"architectures": ["NoSuchForImages"]}, "the architecture NoSuchForImages, which transformers"),
        ({"model_type": "no-such"}, "transformers can't read it"),
        ({"pretrained_cfg": {}}, "found a model of timm, expected one of transformers"),
    ):
        shutil.copy(copy / "config.json", copy / "kept")
        edited(copy / "config.json", **change)
        with pytest.raises(UserError) as error:
            hub_models.task_of(copy)
        assert said in str(error.value)
        shutil.move(copy / "kept", copy / "config.json")


def test_a_task_that_names_it_takes_the_model(resnet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(tasks.task("tensors")), "hub_tasks", frozenset({"image-classification"}))
    monkeypatch.setattr(type(tasks.task("image-classification")), "hub_tasks", frozenset())
    assert hub_models.task_of(resnet).name == "tensors"


# Files that are not trusted


def test_pickles_are_not_opened(copy: Path) -> None:
    torch.save(load_file(copy / "model.safetensors"), copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    for read in (hub_models.task_of, lambda folder: hub_models.trained("AutoModelForImageClassification", folder)):
        with pytest.raises(UserError, match=r"found pytorch_model\.bin, expected \.safetensors files: pickles can run code"):
            read(copy)


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_code_of_a_model_is_not_run(copy: Path, tmp_path: Path, name: str) -> None:
    ran = tmp_path / "ran"
    (copy / "own.py").write_text(f"open({str(ran)!r}, 'w')\n")
    edited(copy / name, auto_map={"AutoModelForImageClassification": "own.Net", "AutoImageProcessor": "own.Processor"})
    for read in (hub_models.task_of, lambda folder: hub_models.trained("AutoModelForImageClassification", folder)):
        with pytest.raises(UserError, match=r"found auto_map, which names code of the model's own \(own\.Net"):
            read(copy)
    assert not ran.exists()


@pytest.mark.parametrize("change", ["missing", "shape"])
def test_weights_that_are_missing_are_not_drawn(copy: Path, change: str) -> None:
    path = copy / "model.safetensors"
    weights = load_file(path)
    weights["classifier.1.weight"] = weights["classifier.1.weight"][:2].contiguous()
    if change == "missing":
        del weights["classifier.1.weight"]
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"classifier\.1\.weight"):
        hub_models.trained("AutoModelForImageClassification", copy)


def test_weights_in_half_precision_are_loaded_in_float32(copy: Path) -> None:
    path = copy / "model.safetensors"
    halves = {name: value.half() if value.is_floating_point() else value for name, value in load_file(path).items()}
    save_file(halves, path, metadata={"format": "pt"})
    edited(copy / "config.json", dtype="float16")
    model = hub_models.trained("AutoModelForImageClassification", copy)
    assert {value.dtype for value in model.parameters()} == {torch.float32}


def test_a_model_that_is_nowhere_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for name, said in ((str(tmp_path / "none"), "found no such folder"), ("owner/none", "the model was not fetched before")):
        with pytest.raises(UserError, match=said) as error:
            hub_models.place(name)
        assert f"hf:{name}: " in str(error.value)
    with pytest.raises(UserError, match=r"found no config\.json"):
        hub_models.task_of(tmp_path)


def test_the_extra_is_named_where_it_is_missing(resnet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgedistill.packages.installed", lambda names: {name: "1" for name in names if name != "optimum"})
    with pytest.raises(UserError, match=r"optimum.*pip install 'edgedistill\[hf\]'"):
        hub_models.task_of(resnet)


# The recipe


def test_the_recipe_says_all_that_was_found(resnet: Path) -> None:
    recipe = recipe_of(UserModel(f"hf:{resnet}", resnet), ["raspberry-pi"]).recipe
    assert (recipe.name, recipe.task, recipe.student.label) == ("resnet", "image-classification", "resnet")
    assert recipe.student.classes == LABELS
    assert recipe.data.mean == pytest.approx([0.4, 0.5, 0.6])


def test_what_the_model_says_is_not_said_again(resnet: Path) -> None:
    given = {"image_size": 64, "std": (1.0, 1.0, 1.0), "checkpoint": Path("a.safetensors"), "inputs": ("x=float32[1]",)}
    with pytest.raises(RecipeError) as error:
        recipe_of(UserModel(f"hf:{resnet}", resnet, **given), [])
    assert [text.split(":")[0] for text in error.value.errors] == ["--checkpoint", "--image-size", "--std", "--input"]


# The export


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images, and targets of one and two formats."""
    folder = tmp_path_factory.mktemp("export")
    (folder / "images").mkdir()
    for number in range(40):
        coarse = np.random.default_rng(number).integers(0, 256, (4, 4, 3), np.uint8)
        Image.fromarray(coarse).resize((45, 33), Image.Resampling.BICUBIC).save(folder / "images" / f"{number:02}.png")
    for name, formats in (("onnx", ["onnx"]), ("both", ["onnx", "executorch"])):
        artifacts = ", ".join(f"{{format: {form}, precision: int8}}" for form in formats)
        (folder / f"{name}.yaml").write_text(f"name: {name}\ndescription: Files.\nminimum_os: none\nartifacts: [{artifacts}]\n")
    return folder


@pytest.mark.parametrize(
    ("kind", "target", "files"),
    [
        ("resnet", "onnx", ["student-int8.onnx"]),
        pytest.param("resnet", "both", ["student-int8.onnx", "student-int8.pte"], marks=pytest.mark.slow),
        pytest.param("vit", "both", ["student-int8.onnx", "student-int8.pte"], marks=pytest.mark.slow),
    ],
)
def test_a_model_is_exported_verified_and_bundled(work: Path, kind: str, target: str, files: list[str]) -> None:
    folder = made(work, kind)
    done = edgedistill("export", "--model", f"hf:{kind}", "--calibration", "images", "--target", f"{target}.yaml", "--json", cwd=work)
    assert done.returncode == 0, done.stderr[-3000:]
    assert {a["name"]: a["ok"] for a in json.loads(done.stdout)["artifacts"]} == dict.fromkeys(files, True)

    # What is compared with the files is what transformers computes of the image files.
    run = work / "runs" / kind
    processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    model = transformers.AutoModelForImageClassification.from_pretrained(folder).eval()
    split = np.load(run / "work/data/split.npy")
    images = [Image.open(path) for path, number in zip(sorted((work / "images").iterdir()), split, strict=True) if number == 1]
    with torch.no_grad():
        expected = model(**processor(images, return_tensors="pt")).logits.numpy()
    found = np.load(run / "work/programs/rungs/student/logits.npy")
    # Pillow 13 resizes some images in another order, whose pixels then differ by 1.
    assert np.allclose(found, expected, atol=0.1 * expected.std())
    assert expected.std(axis=0).min() > 0.1, "else constant outputs would pass as well"

    manifest = json.loads((run / "bundles" / target / "manifest.json").read_text())
    assert manifest["labels"] == LABELS
    image = manifest["preprocessing"]["inputs"]["image"]
    place = {"width": 32, "height": 32, "place": "center, rounded down"}
    sides = {"width": 32, "height": 32, "filter": "triangle"} if kind == "vit" else {"shorter_side": 36, "filter": "cubic"}
    assert (image["resize"], image["crop"]) == (sides | {"antialias": True}, place)
    assert image["normalization"]["mean"] == pytest.approx(processor.image_mean)
    assert image["normalization"]["std"] == pytest.approx(processor.image_std)


@pytest.mark.slow
def test_other_weights_are_exported_anew(work: Path) -> None:
    folder = made(work, "mobilenet")
    command = ("export", "--model", "hf:mobilenet", "--calibration", "images", "--target", "onnx.yaml")
    logits = work / "runs/mobilenet/work/programs/rungs/student/logits.npy"
    assert edgedistill(*command, cwd=work).returncode == 0
    before = np.load(logits)
    weights = load_file(folder / "model.safetensors")
    weights["classifier.bias"] += 1.0
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert edgedistill(*command, cwd=work).returncode == 0
    assert np.allclose(np.load(logits), before + 1, atol=1e-4)


def test_folders_that_sort_otherwise_than_the_outputs_are_refused(work: Path, tmp_path: Path) -> None:
    model, processor = TINY["resnet"]()
    folder = saved(tmp_path / "named", model, processor)
    edited(folder / "config.json", id2label={"0": "dog", "1": "cat", "2": "bird", "3": "ant"}, label2id=None)
    for name in ("ant", "bird", "cat", "dog"):
        shutil.copytree(work / "images", tmp_path / "sorted" / name)
    recipe = recipe_of(UserModel(f"hf:{folder}", tmp_path / "sorted"), []).recipe
    task = tasks.task(recipe.task)
    facts = task.facts(source="", sha256="", splits={}, classes=["ant", "bird", "cat", "dog"], image_size=32, unlabelled=0)
    module = task.build(recipe.student, recipe, facts)
    with pytest.raises(UserError, match="found 'ant' as class 0 of the images, and as output 3 of the model"):
        task.examined(module, recipe, facts)
    right = facts.model_copy(update={"classes": ["dog", "cat", "bird", "ant"]})
    assert task.examined(module, recipe, right).forward.output("logits").shape == (1, 4)
