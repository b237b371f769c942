"""The student part of a recipe: a timm model, or a PyTorch module that a function of yours makes."""

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


def _one_kind(value: Any) -> Any:
    if isinstance(value, dict) and "torch" in value and "model" in value:
        raise mistake("one of model and torch, since each says what the student is", "found model and torch")
    return value


def _kind(value: Any) -> str:
    torch = "torch" in value if isinstance(value, dict) else isinstance(value, TorchStudent)
    return f"union:{'TorchStudent' if torch else 'Student'}"


AnyStudent = Annotated[
    Annotated[Student, Tag("union:Student")] | Annotated[TorchStudent, Tag("union:TorchStudent")],
    Discriminator(_kind),
    BeforeValidator(_one_kind),
]
