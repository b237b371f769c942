"""The recipe of the task `tensors`: named arrays, modules of the user's, and losses that compare what two modules compute."""

from typing import ClassVar

from pydantic import Field

from edgedistill.recipe.base import FilePath
from edgedistill.recipe.data import DataConfig
from edgedistill.recipe.losses import OUTPUTS, FeatureRegression, Losses, Regression
from edgedistill.recipe.models import StudentConfig, TeacherConfig, TorchModule


class Data(DataConfig):
    """Named arrays, whose rows are samples."""

    npz: FilePath = Field(
        description="File of arrays [N, ...] by the names of the inputs; an array `split` int [N] says 0 train, 1 val, 2 holdout."
    )
    inputs: list[str] = Field(
        [], description="Inputs in their order, as features=float32[1,80,T]; a name stands for a size that varies. Default: all arrays."
    )
    views: int = Field(1, ge=1, le=1, description="Samples are taught as they are.")


class Student(TorchModule, StudentConfig):
    """A PyTorch module that a function of yours makes: trained, or to be taught."""


class Teacher(TorchModule, TeacherConfig):
    """A trained PyTorch module that a function of yours makes, with the inputs and outputs of the student."""

    gives: ClassVar[frozenset[str]] = frozenset({OUTPUTS, "features"})


class TensorLosses(Losses):
    """The losses of a stage, summed with their weights; null or absent means that a loss isn't used."""

    mse: Regression | None = Field(None, description="The teacher's outputs.")
    hint: FeatureRegression | None = Field(None, description="What a named module of the teacher computes.")
