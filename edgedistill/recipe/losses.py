"""The losses of a stage as a recipe writes them; `distill.losses` computes them, docs/losses.md says when to use which."""

from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from edgedistill.recipe.base import Config, mistake


class Ramp(Config):
    """A value that changes linearly over the steps of its stage."""

    start: float = Field(description="Value at the stage's first step.")
    end: float = Field(description="Value at the stage's last step.")


def scheduled_value(value: float | Ramp, fraction: float) -> float:
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

    needs_labels: ClassVar[bool] = False

    weight: Weight = Field(1.0, description=_WEIGHT)

    @property
    def needs(self) -> frozenset[str]:
        """The signals that it compares with the teacher's: logits, embedding, features, or `features:LAYER` of a named layer."""
        return frozenset({"logits"})


class CrossEntropy(Loss):
    """Cross-entropy with the labels."""

    needs_labels: ClassVar[bool] = True

    label_smoothing: float = Field(0.0, ge=0, lt=1, description="Share of the target that is spread over all classes (arXiv:1512.00567).")

    @property
    def needs(self) -> frozenset[str]:
        """Nothing of a teacher."""
        return frozenset()


class Distillation(Loss):
    """Kullback-Leibler divergence from the teacher's softened answers (arXiv:1503.02531)."""

    temperature: Temperature = Field(4.0, description=_SOFTEN)
    standardize: bool = Field(
        False, description="Standardise each sample's logits first, so that only their shape is matched (arXiv:2403.01427)."
    )


class DecoupledDistillation(Loss):
    """The divergence in two parts, target class against the rest and among the rest (arXiv:2203.08679)."""

    needs_labels: ClassVar[bool] = True

    temperature: Temperature = Field(4.0, description=_SOFTEN)
    alpha: float = Field(1.0, ge=0, description="Factor of the part on the target class.")
    beta: float = Field(8.0, ge=0, description="Factor of the part among the other classes.")


class CorrelationDistillation(Loss):
    """DIST: correlation with the teacher's answers, within each sample and within each class (arXiv:2205.10536)."""

    temperature: Temperature = Field(1.0, description=_SOFTEN)
    inter: float = Field(1.0, ge=0, description="Factor of the correlation over the classes of a sample.")
    intra: float = Field(1.0, ge=0, description="Factor of the correlation over the samples of a class.")


class ClassCalibration(Loss):
    """MDCA: mean confidence of each class against its frequency in the batch (arXiv:2203.13834)."""

    needs_labels: ClassVar[bool] = True

    @property
    def needs(self) -> frozenset[str]:
        """Nothing of a teacher."""
        return frozenset()


class _FeatureLoss(Loss):
    layer: str | None = Field(None, description="Module of the student whose feature map is compared; null for the last one.")
    teacher_layer: str | None = Field(None, description="Module of the teacher whose feature map is compared; null for the last one.")

    @property
    def needs(self) -> frozenset[str]:
        """The teacher's feature map."""
        return frozenset({signal_of(self.teacher_layer)})


class Hint(_FeatureLoss):
    """FitNets: half the mean square of what a learned projector of the student's feature map misses of the teacher's (arXiv:1412.6550)."""


class AttentionTransfer(_FeatureLoss):
    """Squared distance of the normalised maps of where both models look (arXiv:1612.03928)."""

    weight: Weight = Field(10.0, description=_WEIGHT)


class RelationalDistillation(Loss):
    """Distances and angles among the samples of a batch (arXiv:1904.05068)."""

    distance: float = Field(25.0, ge=0, description="Factor of the part on distances of pairs.")
    angle: float = Field(50.0, ge=0, description="Factor of the part on angles of triplets.")

    @property
    def needs(self) -> frozenset[str]:
        """What the teacher's classifier is given."""
        return frozenset({"embedding"})


class ContrastiveDistillation(Loss):
    """Tell the teacher's embedding of the same image from those of other classes in the batch (arXiv:1910.10699)."""

    needs_labels: ClassVar[bool] = True

    weight: Weight = Field(0.8, description=_WEIGHT)
    temperature: float = Field(0.1, gt=0, le=10, description="Cosines are divided by it.")
    dimensions: int = Field(128, ge=2, le=4096, description="Dimensions that both embeddings are projected to.")

    @property
    def needs(self) -> frozenset[str]:
        """What the teacher's classifier is given."""
        return frozenset({"embedding"})


def signal_of(layer: str | None) -> str:
    """The name of the feature map of `layer`."""
    return "features" if layer is None else f"features:{layer}"


class Losses(Config):
    """The losses of a stage, summed with their weights; null or absent means that a loss isn't used."""

    ce: CrossEntropy | None = Field(None, description="Cross-entropy with the labels.")
    kd: Distillation | None = Field(None, description="Divergence from the teacher's answers.")
    dkd: DecoupledDistillation | None = Field(None, description="Decoupled divergence from the teacher's answers.")
    dist: CorrelationDistillation | None = Field(None, description="Correlation with the teacher's answers.")
    hint: Hint | None = Field(None, description="The teacher's feature map, through a learned projector.")
    attention_transfer: AttentionTransfer | None = Field(None, description="The teacher's attention map.")
    rkd: RelationalDistillation | None = Field(None, description="The teacher's relations among the samples of a batch.")
    crd: ContrastiveDistillation | None = Field(None, description="The teacher's embedding, told from those of other classes.")
    mdca: ClassCalibration | None = Field(None, description="Calibration of the mean confidence of each class; beside another loss.")

    @model_validator(mode="after")
    def _something_to_learn(self) -> "Losses":
        if not any(max(_ends(loss.weight)) > 0 for name, loss in self.used().items() if name != "mdca"):
            raise mistake("at least one of ce, kd, dkd, dist, hint, attention_transfer, rkd and crd with a weight above 0")
        return self

    def used(self) -> dict[str, Loss]:
        """The losses that the stage uses, by name."""
        return {name: loss for name in type(self).model_fields if (loss := getattr(self, name)) is not None}

    @property
    def needs(self) -> frozenset[str]:
        """The signals of the teacher that the stage's losses compare with; empty where none does."""
        return frozenset().union(*(loss.needs for loss in self.used().values()))
