"""The losses that stages of image classification can name."""

from pydantic import Field

from edgedistill.recipe.losses import AttentionTransfer, Hint
from edgedistill.tasks.classification.recipe import ClassLosses


class ClassificationLosses(ClassLosses):
    """The losses of a stage, summed with their weights; null or absent means that a loss isn't used."""

    hint: Hint | None = Field(None, description="The teacher's feature map, through a learned projector.")
    attention_transfer: AttentionTransfer | None = Field(None, description="The teacher's attention map.")
