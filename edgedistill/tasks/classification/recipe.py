"""The losses of models whose output is a score for each class, whatever their samples are."""

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


class ClassLosses(Losses):
    """The losses of a stage, summed with their weights; null or absent means that a loss isn't used."""

    ce: CrossEntropy | None = Field(None, description="Cross-entropy with the labels.")
    kd: Distillation | None = Field(None, description="Divergence from the teacher's answers.")
    dkd: DecoupledDistillation | None = Field(None, description="Decoupled divergence from the teacher's answers.")
    dist: CorrelationDistillation | None = Field(None, description="Correlation with the teacher's answers.")
    rkd: RelationalDistillation | None = Field(None, description="The teacher's relations among the samples of a batch.")
    crd: ContrastiveDistillation | None = Field(None, description="The teacher's embedding, told from those of other classes.")
    mdca: ClassCalibration | None = Field(None, description="Calibration of the mean confidence of each class; beside another loss.")
