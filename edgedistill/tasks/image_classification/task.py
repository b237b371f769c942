"""The task image-classification: one label for each RGB image. Free of torch; what computes is imported late."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, JsonValue

from edgedistill.recipe.base import Config, mistake
from edgedistill.records import Disagreement
from edgedistill.records.manifest import Manifest
from edgedistill.signature import Signature
from edgedistill.tasks.base import Arrays, Glue, Merger, Metric, Preprocessing, RecipeParts, Starter, Taps, Task, Teacher, Words
from edgedistill.tasks.data import DataFacts, Dataset
from edgedistill.tasks.sections import Results, Section

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from edgedistill.recipe.losses import Losses
    from edgedistill.recipe.schema import Recipe
    from edgedistill.tasks.image_classification.dataset import ImageDataset, ImageSource
    from edgedistill.tasks.image_classification.recipe.data import Data

_PREPARED = frozenset({"source", "unlabelled", "image_size", "split"})
_USUAL = {"ce": {"weight": 0.5}, "kd": {"weight": 0.5}}


class ImageFacts(DataFacts):
    """What is known of the images of a run."""

    classes: list[str] = Field(description="Names of the labels in the order of the outputs; empty for images without labels.")
    image_size: int = Field(description="Side of the square that a model sees, in pixels.")
    unlabelled: int = Field(description="Training images without a label.")
    encoded: bool = Field(False, description="Whether images are decoded as they are used: decoded ones would not fit the disk.")

    def described(self) -> list[str]:
        """The number of classes, the size of the images, and how many have no label."""
        several = [f"{len(self.classes)} classes"] if self.classes else []
        unlabelled = [f"{self.unlabelled:,} without a label"] if self.unlabelled and self.classes else []
        encoded = ["decoded as they are used, since they would not fit the disk"] if self.encoded else []
        return [*several, f"images of {self.image_size} px", *unlabelled, *encoded]


class ImageClassification(Task):
    """Input `image`, float32 [B, 3, H, W] in 0..1; output `logits`, float32 [B, classes]; target int64 [B], -1 for none."""

    name = "image-classification"
    title = "Image classification"
    metric = Metric("accuracy", "accuracy", described="The share of images whose most likely class is right.")
    words = Words("image", "images", targets="labels", distance="KL divergence, nats")
    blends = True
    facts = ImageFacts
    data_version = 3
    glue = Glue(
        Path(__file__).parent / "glue",
        {
            "python": (
                "image_model.ImageModel",
                "image_model.Prediction",
                "image_model.Score",
                "frames.Frame",
                "frames.Plane",
                "files.frame_of",
            ),
            "typescript": ("images", "ImageModel"),
            "swift": ("ImageModel",),
            "kotlin": ("ImageModel",),
        },
        {"python": ("pillow>=11",)},
        {"labels": "Label"},
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
                raise mistake("teacher: null and distill: null, since only timm models are trained", "found student.torch")
            return
        if recipe.distill is None and student.checkpoint is None and not student.pretrained:
            raise mistake("student.checkpoint or student.pretrained: true, since nothing is trained", "found neither beside distill: null")
        if isinstance(data.source, Images):
            raise mistake("student.torch beside data.source.images, since a timm model needs to know its classes", "found a timm model")

    def source(self, recipe: Recipe) -> ImageSource:
        """The listed images."""
        from edgedistill.tasks.image_classification.dataset import ImageSource

        return ImageSource(_data(recipe))

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
        from edgedistill.tasks.image_classification.models import outputs_of, signature

        size = _data(recipe).image_size
        return signature(size, outputs_of(module, recipe.student.label, size, len(_facts(facts).classes)))

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

    def teaching_set(self, answers: Callable[[np.ndarray], Arrays], dataset: Dataset, folder: Path) -> dict[str, JsonValue]:
        """Lists in teaching-set.csv where the teacher is unsure or contradicts the label; such images stay in."""
        from edgedistill.tasks.image_classification.teaching_set import write

        return write(lambda indices: answers(indices)["logits"], dataset, _facts(dataset.facts).classes, folder)

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

    def score(self, outputs: Arrays, targets: Arrays) -> np.ndarray:
        """Whether the largest logit is that of the label, bool [n]."""
        return outputs["logits"].argmax(axis=1) == targets["logits"]

    def further(self, outputs: Arrays, targets: Arrays) -> dict[str, float]:
        """Calibration errors, the Brier score and the negative log-likelihood."""
        from scipy import special

        from edgedistill.tasks.image_classification.calibration_error import calibration_error

        errors = calibration_error(special.softmax(outputs["logits"].astype("float64"), axis=1), targets["logits"])
        return {name: errors[name] for name in ("ece", "adaptive_ece", "brier", "nll")}

    def decide(self, outputs: Arrays) -> np.ndarray:
        """The class of the largest logit, int64 [n]."""
        return outputs["logits"].argmax(axis=1)

    def distance(self, outputs: Arrays, expected: Arrays) -> float:
        """The mean Kullback-Leibler divergence KL(expected || outputs) of the probabilities, in nats."""
        import numpy as np
        from scipy.special import log_softmax

        p, q = (log_softmax(arrays["logits"].astype("float64"), axis=1) for arrays in (expected, outputs))
        return float((np.exp(p) * (p - q)).sum(axis=1).mean())

    def temperature(self, outputs: Arrays, targets: Arrays) -> float:
        """The temperature of the highest likelihood of the labels."""
        from edgedistill.tasks.image_classification.temperature_scaling import fit_temperature

        return fit_temperature(outputs["logits"], targets["logits"])

    def divide(self, module: nn.Module, temperature: float) -> bool:
        """Divide weight and bias of the classifier."""
        from edgedistill.tasks.image_classification.temperature_scaling import divide_classifier

        return divide_classifier(self.core(module), temperature)

    def preprocessing(self, recipe: Recipe, facts: DataFacts, signature: Signature) -> Preprocessing:
        """Resize and crop before, softmax after; the normalisation is inside the program."""
        from edgedistill.tasks.image_classification.frames import golden_frames

        data = _data(recipe)
        image: dict[str, JsonValue] = {
            "kind": "image",
            "color": "RGB",
            "orientation": "upright, as EXIF says",
            "sixteen_bit": "divided by 257",
            "transparency": "composed with white",
            "resize": {"shorter_side": data.image_size, "filter": "triangle", "antialias": True},
            "crop": {"width": data.image_size, "height": data.image_size, "place": "center"},
            "padding": None,
            "normalization": {"mean": list(data.mean), "std": list(data.std), "where": "inside the program"},
        }
        logits: dict[str, JsonValue] = {"kind": "scores", "postprocessing": "softmax", "thresholds": None}
        # Outputs that no folder of images names have their numbers.
        count = signature.forward.output("logits").fixed[-1]
        labels: list[JsonValue] = list(_facts(facts).classes or map(str, range(count)))
        frames, files = golden_frames(data.image_size)
        return Preprocessing(
            inputs={"image": image}, outputs={"logits": logits}, manifest={"labels": labels, "golden_frames": frames}, files=files
        )

    def misfits(self, manifest: Manifest) -> list[str]:
        """Labels have to be as many as the scores of each artifact."""
        labels = (manifest.model_extra or {}).get("labels")
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            return ["labels: expected a list of texts"]
        return [
            f"found {len(labels)} labels, expected {spec.shape[-1]}, as the output {spec.name} of {entry.name} has"
            for entry in manifest.artifacts
            for spec in entry.signature.outputs
            if spec.meaning == "logits" and spec.shape[-1] != len(labels)
        ]

    def sections(self, results: Results) -> list[Section]:
        """Confusion and calibration of the program that ships, where the images have labels."""
        from edgedistill.tasks.image_classification.sections import sections

        outputs = results.outputs(results.shipped)
        if outputs is None or not results.targets:
            return []
        return sections(outputs["logits"], results.targets["logits"], _facts(results.facts).classes, results.shipped)


def _data(recipe: Recipe) -> Data:
    from edgedistill.tasks.image_classification.recipe.data import Data

    assert isinstance(recipe.data, Data)
    return recipe.data


def _facts(facts: DataFacts) -> ImageFacts:
    assert isinstance(facts, ImageFacts)
    return facts


IMAGE_CLASSIFICATION = ImageClassification()
