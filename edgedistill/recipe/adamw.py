"""The numbers of AdamW, which trains teachers and students."""

from pydantic import Field

from edgedistill.recipe.base import Config


class AdamW(Config):
    """Decoupled weight decay (arXiv:1711.05101), and how long the optimizer remembers."""

    weight_decay: float = Field(0.05, ge=0, le=10, description="Weight decay of AdamW.")
    beta2: float = Field(
        0.95,
        ge=0,
        lt=1,
        description="Decay of AdamW's mean of squared gradients. 0.95 learns faster in short trainings than 0.999, the usual value.",
    )
