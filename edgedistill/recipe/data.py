"""The data part that recipes of every task have: splits, views and batches."""

from collections.abc import Collection, Mapping
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from edgedistill.recipe.base import Config, mistake

Leakage = Literal["remove", "report", "off"]
LEAKAGE = (
    "What happens to samples of train and val that are the same, nearly the same, or a part of one in a later split: they are removed "
    "from the earlier split, reported, or not looked for."
)


class Split(Config):
    """Which part of the samples is kept from training; the rest trains."""

    val: float = Field(0.2, gt=0, lt=1, description="Fraction for validation: parity, verdict and every decision use it.")
    holdout: float = Field(0.2, ge=0, lt=1, description="Fraction that is scored once, at the end of a run; 0 for none.")

    @model_validator(mode="after")
    def _leaves_training_data(self) -> "Split":
        if self.val + self.holdout >= 1:
            raise mistake("a sum below 1, so that samples are left to train on", f"found val {self.val} and holdout {self.holdout}")
        return self


class DataConfig(Config):
    """Samples, and what happens to them before a model sees them. A task adds where they come from."""

    kinds: ClassVar[Mapping[str, Collection[str]]] = {}
    """Fields of which one key says what they are, with these keys: `--set` with another key replaces the field."""

    split: Split = Field(Split(), description="Fractions, drawn by the seed; ignored where the data has splits.")
    views: int = Field(
        4, ge=1, le=1024, description="Augmented views of a sample, replayed by the seed; the teacher's answer is cached for each."
    )
    batch_size: int = Field(64, ge=2, le=65536, description="Samples in a training step.")
