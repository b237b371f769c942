"""The part of a recipe that text classification has: labels, models and losses."""

from typing import Any

from pydantic import Field

from edgedistill.recipe.models import Train
from edgedistill.tasks.text.recipe import HubTeacher, NewTeacher, Text, tagged


class Data(Text):
    """Texts with a label each."""

    label: str = Field("label", min_length=1, description="Column of the label; a text without one is taught by the teacher alone.")
    classes: list[str] | None = Field(
        None,
        min_length=2,
        description="Names of the labels in the order of the outputs, for a model that comes trained; the column may then be missing, or "
        "have their numbers. null takes the names in the column, sorted.",
    )


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
