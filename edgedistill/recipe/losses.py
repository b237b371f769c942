"""The losses of a stage as a recipe writes them; `distill.losses` computes them, docs/losses.md says when to use which."""

from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from edgedistill.recipe.base import Config, mistake


class Ramp(Config):
    """A value that changes linearly over the steps of its stage."""

    start: float = Field(description="Value at the stage's first step.")
    end: float = Field(description="Value at the stage's last step.")


def at(value: float | Ramp, fraction: float) -> float:
    """A scheduled value when `fraction` (0 to 1) of the stage's steps are done."""
    return value.start + (value.end - value.start) * fraction if isinstance(value, Ramp) else value


def _ends(value: float | Ramp) -> tuple[float, float]:
    return (value.start, value.end) if isinstance(value, Ramp) else (value, value)


def _weight(value: float | Ramp) -> float | Ramp:
    if min(_ends(value)) < 0:
        raise mistake("a number of at least 0, or {start: A, end: B} of such")
    return value


def _temperature(value: float | Ramp) -> float | Ramp:
    if min(_ends(value)) <= 0 or max(_ends(value)) > 100:
        raise mistake("a number above 0 and at most 100, or {start: A, end: B} of such")
    return value


def _kind(value: Any) -> str:
    return "union:Ramp" if isinstance(value, (dict, Ramp)) else "union:number"


_Scheduled = Annotated[Annotated[float, Tag("union:number")] | Annotated[Ramp, Tag("union:Ramp")], Discriminator(_kind)]
Weight = Annotated[_Scheduled, AfterValidator(_weight)]
Temperature = Annotated[_Scheduled, AfterValidator(_temperature)]

_WEIGHT = "Factor of this loss in the sum: a number, or {start: A, end: B} for a linear change over the stage."
_SOFTEN = "Both models' logits are divided by it; the loss is multiplied by its square. A number, or {start: A, end: B}."


class Loss(Config):
    """What every loss has."""

    needs_teacher: ClassVar[bool] = True

    weight: Weight = Field(1.0, description=_WEIGHT)


class CrossEntropy(Loss):
    """Cross-entropy with the labels."""

    needs_teacher: ClassVar[bool] = False

    label_smoothing: float = Field(0.0, ge=0, lt=1, description="Share of the target that is spread over all classes (arXiv:1512.00567).")


class Distillation(Loss):
    """Kullback-Leibler divergence from the teacher's softened answers (arXiv:1503.02531)."""

    temperature: Temperature = Field(4.0, description=_SOFTEN)
    standardize: bool = Field(
        False, description="Standardise each sample's logits first, so that only their shape is matched (arXiv:2403.01427)."
    )


class DecoupledDistillation(Loss):
    """The divergence in two parts, target class against the rest and among the rest (arXiv:2203.08679)."""

    temperature: Temperature = Field(4.0, description=_SOFTEN)
    alpha: float = Field(1.0, ge=0, description="Factor of the part on the target class.")
    beta: float = Field(8.0, ge=0, description="Factor of the part among the other classes.")


class CorrelationDistillation(Loss):
    """DIST: correlation with the teacher's answers, within each sample and within each class (arXiv:2205.10536)."""

    temperature: Temperature = Field(1.0, description=_SOFTEN)
    inter: float = Field(1.0, ge=0, description="Factor of the correlation over the classes of a sample.")
    intra: float = Field(1.0, ge=0, description="Factor of the correlation over the samples of a class.")


class Calibration(Loss):
    """MDCA: mean confidence of each class against its frequency in the batch (arXiv:2203.13834)."""

    needs_teacher: ClassVar[bool] = False


class Losses(Config):
    """The losses of a stage, summed with their weights; null or absent means that a loss isn't used."""

    ce: CrossEntropy | None = Field(None, description="Cross-entropy with the labels.")
    kd: Distillation | None = Field(None, description="Divergence from the teacher's answers.")
    dkd: DecoupledDistillation | None = Field(None, description="Decoupled divergence from the teacher's answers.")
    dist: CorrelationDistillation | None = Field(None, description="Correlation with the teacher's answers.")
    mdca: Calibration | None = Field(None, description="Calibration of the mean confidence of each class; beside another loss.")

    @model_validator(mode="after")
    def _something_to_learn(self) -> "Losses":
        if not any(max(_ends(loss.weight)) > 0 for name, loss in self.used().items() if name != "mdca"):
            raise mistake("at least one of ce, kd, dkd and dist with a weight above 0")
        return self

    def used(self) -> dict[str, Loss]:
        """The losses that the stage uses, by name."""
        return {name: loss for name in type(self).model_fields if (loss := getattr(self, name)) is not None}

    @property
    def needs_teacher(self) -> bool:
        """Whether a loss of the stage compares with the teacher."""
        return any(loss.needs_teacher for loss in self.used().values())
