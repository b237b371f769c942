"""The task image-classification: one label for each RGB image. Free of torch; what computes is imported late."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, JsonValue

from edgedistill.recipe.base import Config, mistake
from edgedistill.records import Disagreement
from edgedistill.signature import Signature
from edgedistill.tasks.base import ROUTER_GLUE, Arrays, Glue, Merger, Preprocessing, RecipeParts, Shown, Starter, Taps, Teacher, Words
from edgedistill.tasks.classification.task import GLUE as CLASSIFICATION_GLUE
from edgedistill.tasks.classification.task import ClassFacts, Classification
from edgedistill.tasks.data import DataFacts, Dataset, Taught
from edgedistill.tasks.shadowed import CallShadow, Shadow, Similarity

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from edgedistill.recipe.losses import Losses
    from edgedistill.recipe.schema import Recipe
    from edgedistill.tasks.hub_models import HubModel
    from edgedistill.tasks.image_classification.dataset import ImageDataset, ImageSource
    from edgedistill.tasks.image_classification.recipe.data import Data
    from edgedistill.tasks.model_file import ModelFile

_PREPARED = frozenset({"source", "sets", "holdout", "unlabelled", "image_size", "resize", "split", "leakage"})
_USUAL = {"ce": {"weight": 0.5}, "kd": {"weight": 0.5}}


class ImageFacts(ClassFacts):
    """What is known of the images of a run."""

    image_size: int = Field(description="Side of the square that a model sees, in pixels.")
    unlabelled: int = Field(description="Training images without a label.")
    encoded: bool = Field(False, description="Whether images are decoded as they are used: decoded ones would not fit the disk.")

    def described(self) -> list[str]:
        """The number of classes, the size of the images, and how many have no label."""
        several = [f"{len(self.classes)} classes"] if self.classes else []
        unlabelled = [f"{self.unlabelled:,} without a label"] if self.unlabelled and self.classes else []
        encoded = ["decoded as they are used, since they would not fit the disk"] if self.encoded else []
        return [*several, f"images of {self.image_size} px", *unlabelled, *encoded]


class ImageClassification(Classification):
    """Input `image`, float32 [B, 3, H, W] in 0..1; output `logits`, float32 [B, classes]; target int64 [B], -1 for none."""

    name = "image-classification"
    title = "Image classification"
    words = Words("image", "images", targets="labels", distance="KL divergence, nats")
    blends = True
    facts = ImageFacts
    data_version = 4
    hub_tasks = frozenset({"image-classification"})
    glue = Glue(
        (ROUTER_GLUE, CLASSIFICATION_GLUE, Path(__file__).parent / "glue"),
        {
            "python": (
                "image_model.ImageModel",
                "routing.Router",
                "scores.Prediction",
                "scores.Score",
                "frames.Frame",
                "frames.Plane",
                "files.frame_of",
            ),
            "typescript": ("images", "ImageModel", "frameFromImage"),
            "swift": ("ImageModel",),
            "kotlin": ("ImageModel",),
        },
        {"python": ("pillow>=11",)},
        {"labels": "Label"},
        extra="images",
        example='model.predict("photo.jpg").best',
        examples={
            "typescript": "await model.predict(frameFromImage(image))",
            "kotlin": "val prediction = model.predict(frame)",
            "swift": "let prediction = try await model.predict(Frame(pixelBuffer))",
        },
    )

    def parts(self) -> RecipeParts:
        """Images from six kinds of sources, timm and Hugging Face models, modules and files of the user, and nine losses."""
        from edgedistill.tasks.image_classification.recipe.data import Data
        from edgedistill.tasks.image_classification.recipe.losses import ClassificationLosses
        from edgedistill.tasks.image_classification.recipe.student import AnyStudent
        from edgedistill.tasks.image_classification.recipe.teachers import Teacher

        stages = [
            {"name": "finetune", "epochs": 10, "lr": 8.0e-3, "losses": _USUAL},
            {"name": "qat", "losses": _USUAL},
        ]
        return RecipeParts(Data, AnyStudent, Teacher, ClassificationLosses, {"teacher": {}, "student": {}, "stages": stages}, _PREPARED)

    def starter(self) -> Starter:
        """A recipe for folders or files of images."""
        from edgedistill.tasks.image_classification.starter import IMAGES

        return IMAGES

    def check(self, recipe: Recipe) -> None:
        """A student is trained by its teacher, or comes trained; only a module of the user's needs no classes."""
        from edgedistill.tasks.image_classification.recipe.data import Data, Images
        from edgedistill.tasks.image_classification.recipe.student import Student

        student, data = recipe.student, recipe.data
        assert isinstance(data, Data)
        if not isinstance(student, Student):
            if recipe.distill is not None:
                found = f"found student.{'hf' if hasattr(student, 'hf') else 'torch'}"
                raise mistake("teacher: null and distill: null, since only timm models are trained", found)
            return
        if recipe.distill is None and student.checkpoint is None and not student.pretrained:
            raise mistake("student.checkpoint or student.pretrained: true, since nothing is trained", "found neither beside distill: null")
        if isinstance(data.source, Images):
            expected = "student.torch or student.hf beside data.source.images, since a timm model needs to know its classes"
            raise mistake(expected, "found a timm model")

    def hub_model(self, folder: Path) -> HubModel:
        """Labels, size, resizing and normalisation that its files say."""
        from edgedistill.tasks.image_classification.hub_model import hub_model

        return hub_model(folder)

    def source(self, recipe: Recipe) -> ImageSource:
        """The listed images."""
        from edgedistill.tasks.image_classification.dataset import ImageSource

        return ImageSource(_data(recipe))

    def taught(self, recipe: Recipe, dataset: Dataset) -> Iterator[Taught]:
        """The files of the images, whatever their size and preparation."""
        return self.source(recipe).taught()

    def dataset(self, recipe: Recipe, folder: Path) -> ImageDataset:
        """The prepared images."""
        from edgedistill.tasks.image_classification import imageset, listing
        from edgedistill.tasks.image_classification.dataset import ImageDataset

        data = _data(recipe)
        return ImageDataset(imageset.load(folder, lambda: listing.listing(data)), data.augment, recipe.seed)

    def signature(self, recipe: Recipe, facts: DataFacts) -> Signature:
        """One RGB image in, a logit for each class out."""
        from edgedistill.tasks.image_classification.models import signature

        return signature(_data(recipe).image_size, len(_facts(facts).classes))

    def build(self, config: Config, recipe: Recipe, facts: DataFacts, weights: Path | None = None) -> nn.Module:
        """The model of timm, Hugging Face or the user, with the normalisation in front."""
        from edgedistill.tasks.image_classification.build import build

        return build(config, recipe, _facts(facts).classes, weights)

    def examined(self, module: nn.Module, recipe: Recipe, facts: DataFacts) -> Signature:
        """One RGB image in, as many logits out as the module gives; as many as there are classes where the images have any."""
        from edgedistill.tasks.image_classification.hub_model import check_order
        from edgedistill.tasks.image_classification.models import outputs_of, signature

        size, classes = _data(recipe).image_size, _facts(facts).classes
        check_order(_outputs(recipe), classes)
        return signature(size, outputs_of(module, recipe.student.label, size, len(classes)))

    def core(self, module: nn.Module) -> nn.Module:
        """The model without the normalisation, so that timm or transformers load its weights."""
        return module.model  # type: ignore[return-value]

    def named(self, recipe: Recipe) -> list[tuple[str, str]]:
        """Models and weights that timm does not have."""
        from edgedistill.errors import UserError
        from edgedistill.tasks.image_classification.models import check_name

        wrong = []
        for field, config in recipe.models:
            if (name := getattr(config, "model", None)) is not None:
                try:
                    check_name(name, pretrained=config.pretrained)
                except UserError as error:
                    wrong.append((f"{field}.model", str(error)))
        return wrong

    def unloaded(self, config: Config) -> Config:
        """Without timm's pretrained weights."""
        return config.model_copy(update={"pretrained": False}) if getattr(config, "pretrained", False) else config

    def start(self, recipe: Recipe, module: nn.Module) -> str | None:
        """Which activations of the student int8 runtimes do not fuse."""
        from edgedistill.tasks.image_classification.activations import unfused

        if not (counts := unfused(module)):
            return None
        kinds = ", ".join(f"{count} {kind}" for kind, count in counts.items())
        return f"{recipe.student.label} has {kinds}, which int8 runtimes do not fuse; student.activation: relu6 replaces them"

    def teacher(self, config: Config, recipe: Recipe, dataset: Dataset, weights: Path | None, signals: Collection[str]) -> Teacher:
        """A module or model file whose outputs are brought to the classes of the data."""
        from edgedistill.tasks.image_classification.recipe.teachers import FileTeacher
        from edgedistill.tasks.image_classification.teachers import FileRunner, ModuleTeacher, outputs_of

        outputs = outputs_of(config, _facts(dataset.facts).classes)
        if isinstance(config, FileTeacher):
            return FileRunner(config, outputs)
        return ModuleTeacher(self.build(config, recipe, dataset.facts, weights), signals, outputs)

    def seen(self, config: Config, recipe: Recipe, facts: DataFacts) -> dict[str, JsonValue]:
        """The names of its outputs, what is done to images before it sees them, and their views."""
        from edgedistill.tasks.image_classification.teachers import outputs_of

        data = recipe.data.model_dump(mode="json", include={"augment", "image_size", "mean", "std"})
        names: Any = outputs_of(config, _facts(facts).classes).names
        own = config.model_dump(mode="json", include={"layout", "input_size", "mean", "std"})
        augment = data.pop("augment")
        return {"outputs": names, "input": own, "augment": augment, "seed": recipe.seed, "preprocessing": data}

    def disagreement(self, answers: Mapping[str, Arrays]) -> list[Disagreement]:
        """The share of images on which each pair chooses different classes, and the divergence of their probabilities."""
        from edgedistill.tasks.image_classification.merge import disagreement

        return disagreement({name: outputs["logits"] for name, outputs in answers.items()})

    def merger(self, recipe: Recipe, dataset: Dataset) -> Merger | None:
        """Merges the probabilities of several teachers, or the logits of specialists."""
        from edgedistill.tasks.image_classification.merge import merger_of

        return merger_of(recipe, dataset, _facts(dataset.facts).classes)

    def taps(self, module: nn.Module, signature: Signature, signals: Collection[str]) -> Taps:
        """Logits, the classifier's input as `embedding`, and feature maps."""
        from edgedistill.tasks.image_classification.taps import Taps

        return Taps(module, signals)

    def supervised(self, train: Config | None) -> Losses:
        """Cross-entropy with the labels."""
        from edgedistill.recipe.losses import CrossEntropy
        from edgedistill.tasks.image_classification.recipe.losses import ClassificationLosses
        from edgedistill.tasks.image_classification.recipe.teachers import Train

        smoothing = train.label_smoothing if isinstance(train, Train) else 0.0
        return ClassificationLosses(ce=CrossEntropy(label_smoothing=smoothing))

    def classifier(self, module: nn.Module) -> nn.Module | None:
        """The layer that timm calls the classifier."""
        return self.core(module).get_classifier()  # type: ignore[no-any-return, operator]

    def shown(self, recipe: Recipe, dataset: Dataset, folder: Path, sample: int) -> Shown:
        """The image as the model sees it."""
        import io

        import numpy as np
        from PIL import Image

        pixels, file = dataset.inputs(np.array([sample]))["image"][0], io.BytesIO()
        Image.fromarray((255 * pixels).round().astype(np.uint8).transpose(1, 2, 0)).save(file, "png")
        return Shown("", file.getvalue())

    def features(self, inputs: Arrays, facts: DataFacts) -> dict[str, np.ndarray]:
        """The mean and the standard deviation of each channel, from 0 to 1."""
        from edgedistill.tasks.image_classification.features import features

        return features(inputs["image"])

    def trace(self, row: Mapping[str, JsonValue], folder: Path) -> tuple[JsonValue, JsonValue]:
        """`image`, a path, or `image_base64`; `label` or `scores` of the teacher."""
        from edgedistill.tasks.classification.agreement import answer_of
        from edgedistill.tasks.image_classification.answering import image_of

        return image_of(row, folder), answer_of(row)

    def shadow(self, file: ModelFile, comparison: Mapping[str, Any], threads: int, similarity: Similarity | None) -> Shadow:
        """Decides on images."""
        from edgedistill.tasks.image_classification.answering import ImageInputs
        from edgedistill.tasks.model_file import Loaded

        return CallShadow(Loaded(file, threads), ImageInputs(file), self.comparing(file), people=True)

    def asked(self, prompt: Any) -> Shown:
        """The image."""
        from edgedistill.errors import UserError
        from edgedistill.tasks.image_classification.answering import png

        try:
            return Shown("", png(prompt))
        except (OSError, ValueError) as error:
            raise UserError(f"{prompt.get('image', 'an image of the traces')} can't be read any more ({error})") from error

    def decision_names(self, recipe: Recipe, facts: DataFacts) -> list[str]:
        """The names that the student gives its outputs, or those of the data."""
        return _outputs(recipe) or _facts(facts).classes

    def preprocessing(self, recipe: Recipe, facts: DataFacts, signature: Signature, folder: Path) -> Preprocessing:
        """Resize and crop before, softmax after; the normalisation is inside the program."""
        from edgedistill.tasks.image_classification.preprocessing import preprocessing

        # Outputs that neither the model nor a folder of images names have their numbers.
        count = signature.forward.output("logits").fixed[-1]
        return preprocessing(_data(recipe), self.decision_names(recipe, facts) or list(map(str, range(count))))


def _outputs(recipe: Recipe) -> list[str]:
    """The names that the student itself gives its outputs; none where it has none."""
    from edgedistill.tasks.image_classification.recipe.student import HuggingFaceStudent

    return recipe.student.classes if isinstance(recipe.student, HuggingFaceStudent) else []


def _data(recipe: Recipe) -> Data:
    from edgedistill.tasks.image_classification.recipe.data import Data

    assert isinstance(recipe.data, Data)
    return recipe.data


def _facts(facts: DataFacts) -> ImageFacts:
    assert isinstance(facts, ImageFacts)
    return facts


IMAGE_CLASSIFICATION = ImageClassification()
