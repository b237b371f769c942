"""The part of a recipe that text classification has: labels, models and losses."""

from typing import Any

from pydantic import Field

from edgedistill.recipe.losses import (
    ClassCalibration,
    ContrastiveDistillation,
    CorrelationDistillation,
    CrossEntropy,
    DecoupledDistillation,
    Distillation,
    Losses,
    RelationalDistillation,
)
from edgedistill.recipe.models import Train
from edgedistill.tasks.text.recipe import HubTeacher, NewTeacher, Text, tagged


class Data(Text):
    """Texts with a label each."""

    label: str = Field("label", min_length=1, description="Column of the label; a text without one is taught by the teacher alone.")


class HubClassifier(HubTeacher):
    """A model that Hugging Face transformers loads."""

    train: Train | None = Field(
        Train(epochs=3, lr=1.0e-4),
        description="Train it on the labels first, with a new classifier where the labels differ; null takes it as it is.",
    )


class NewClassifier(NewTeacher):
    """A model of Hugging Face transformers that is trained from random weights."""

    train: Train = Field(Train(), description="Its training on the labels.")


Teacher: Any = tagged({"hf": HubClassifier, "config": NewClassifier}, "what the teacher is")


class TextLosses(Losses):
    """The losses of a stage, summed with their weights; null or absent means that a loss isn't used."""

    ce: CrossEntropy | None = Field(None, description="Cross-entropy with the labels.")
    kd: Distillation | None = Field(None, description="Divergence from the teacher's answers.")
    dkd: DecoupledDistillation | None = Field(None, description="Decoupled divergence from the teacher's answers.")
    dist: CorrelationDistillation | None = Field(None, description="Correlation with the teacher's answers.")
    rkd: RelationalDistillation | None = Field(None, description="The teacher's relations among the samples of a batch.")
    crd: ContrastiveDistillation | None = Field(None, description="The teacher's embedding, told from those of other classes.")
    mdca: ClassCalibration | None = Field(None, description="Calibration of the mean confidence of each class; beside another loss.")
