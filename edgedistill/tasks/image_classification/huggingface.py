"""Image classifiers of Hugging Face transformers, as teachers, and as models that are exported as they are."""

import torch
from torch import Tensor, nn

from edgedistill.errors import UserError
from edgedistill.tasks import hub_models
from edgedistill.tasks.image_classification.preprocessed import resized
from edgedistill.tasks.image_classification.recipe.data import Data
from edgedistill.tasks.image_classification.recipe.student import HuggingFaceStudent
from edgedistill.tasks.image_classification.recipe.teachers import HuggingFaceTeacher


class ImageClassifier(nn.Module):
    """A transformers model behind the images of a recipe: float32 [B, 3, S, S] in 0..1 to logits."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, size: int | None, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.model, self.size = model, size
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("std", torch.tensor(std)[:, None, None])

    def forward(self, images: Tensor) -> Tensor:
        """Logits of a batch."""
        images = images if self.size is None else resized(images, self.size)
        return self.model((images - self.mean) / self.std).logits


class Logits(nn.Module):
    """A transformers model that gives its logits alone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, classes] of normalised images [B, 3, S, S]."""
        return self.model(pixel_values=images).logits


def trained(config: HuggingFaceStudent) -> Logits:
    """The model with its weights, which takes images that are normalised already."""
    folder = hub_models.place(config.hf, config.revision).folder
    return Logits(hub_models.trained("AutoModelForImageClassification", folder))


def names(config: HuggingFaceTeacher, classes: list[str]) -> list[str] | None:
    """Names of the model's outputs, where it says them and they are the data's classes in another order or among others."""
    if config.train is not None:
        return None
    from transformers import AutoConfig

    labels = _loaded(AutoConfig, config.hf).id2label
    model_classes = [str(labels[i]) for i in range(len(labels))]
    return model_classes if set(classes) <= set(model_classes) else None


def load(config: HuggingFaceTeacher, data: Data, classes: list[str], seed: int) -> ImageClassifier:
    """The model with its own normalisation and size; with `train` it gets a new classifier where the classes differ."""
    from transformers import AutoModelForImageClassification

    torch.manual_seed(seed)
    options = {} if config.train is None else {"num_labels": len(classes), "ignore_mismatched_sizes": True}
    model = _loaded(AutoModelForImageClassification, config.hf, **options)
    size, mean, std = _processing(config.hf, data)
    return ImageClassifier(model, size, mean, std)


def _loaded(kind, reference: str, **options):  # type: ignore[no-untyped-def]
    try:
        return kind.from_pretrained(reference, **options)
    except (OSError, ValueError) as error:
        said = str(error).strip().splitlines()[0]
        raise UserError(f"teacher.hf: '{reference}' is no image classifier that transformers can load ({said})") from error


def _processing(reference: str, data: Data) -> tuple[int | None, list[float], list[float]]:
    """Side, mean and deviation that the model's image processor names; those of the data where it has none."""
    from transformers import AutoImageProcessor

    try:
        processor = AutoImageProcessor.from_pretrained(reference)
    except (OSError, ValueError):
        return None, data.mean, data.std
    size = processor.size
    get = size.get if isinstance(size, dict) else lambda key: getattr(size, key, None)
    return get("shortest_edge") or get("height"), list(processor.image_mean), list(processor.image_std)
