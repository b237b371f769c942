"""The student part of a recipe: a timm model, a PyTorch module that a function of yours makes, or a model of Hugging Face."""

import os
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from edgedistill.recipe.base import mistake
from edgedistill.recipe.models import StudentConfig
from edgedistill.tasks.image_classification.recipe.teachers import Pretrained, TorchClassifier

Argument = bool | int | float | str


class Student(Pretrained, StudentConfig):
    """A timm model."""

    model: str = Field(
        "mobilenetv4_conv_small", min_length=1, description="timm name of the student; activations that quantize well are ReLU and ReLU6."
    )
    arguments: dict[str, Argument | list[Argument]] = Field(
        {},
        description="Arguments of the timm model, as `layers: [1, 1, 1, 1]` for a shallower or `channels: [32, 64, 128, 256]` for "
        "a narrower resnet18.",
    )
    activation: Literal["relu", "relu6"] | None = Field(
        None,
        description="Put it in the place of Hardswish, SiLU, GELU and Mish, and Sigmoid in that of Hardsigmoid gates; null keeps them.",
    )

    @property
    def label(self) -> str:
        """What to call it in a report."""
        return self.model


class TorchStudent(TorchClassifier, StudentConfig):
    """A trained module of your own, which is quantized as it is."""


class HuggingFaceStudent(StudentConfig):
    """A trained image classifier of Hugging Face transformers, which is quantized as it is."""

    hf: str = Field(
        min_length=1, description="Folder of a saved model, or its name on the Hugging Face hub; `export --model hf:` fills in the rest."
    )
    revision: str | None = Field(None, min_length=1, description="Commit of a model on the hub.")
    classes: list[str] = Field(min_length=1, description="Names of its outputs in their order.")

    @property
    def label(self) -> str:
        """What to call it in a report."""
        return os.path.basename(self.hf.rstrip("/"))


_KINDS: dict[str, type[StudentConfig]] = {"model": Student, "torch": TorchStudent, "hf": HuggingFaceStudent}


def _one_kind(value: Any) -> Any:
    if isinstance(value, dict) and len(kinds := [key for key in _KINDS if key in value]) > 1:
        raise mistake("one of model, torch and hf, since each says what the student is", f"found {' and '.join(kinds)}")
    return value


def _kind(value: Any) -> str:
    key = next((key for key in _KINDS if isinstance(value, dict) and key in value), "model")
    return f"union:{type(value).__name__ if isinstance(value, StudentConfig) else _KINDS[key].__name__}"


AnyStudent = Annotated[
    Annotated[Student, Tag("union:Student")]
    | Annotated[TorchStudent, Tag("union:TorchStudent")]
    | Annotated[HuggingFaceStudent, Tag("union:HuggingFaceStudent")],
    Discriminator(_kind),
    BeforeValidator(_one_kind),
]
