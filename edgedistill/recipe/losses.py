"""The losses of a stage as a recipe writes them; `distill.losses` computes them, docs/losses.md says when to use which."""

from typing import Annotated, Any, ClassVar, Literal, get_args

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


OUTPUTS = "outputs"
"""The signal that stands for all outputs of a model."""


class Loss(Config):
    """What every loss has. A package adds one by a subclass, which is a field of its task's `Losses`."""

    formula: ClassVar[str]
    """`module:function` that computes it, see `distill.formulas`."""
    prepares: ClassVar[str | None] = None
    """`module:function` that gives what the loss itself learns and checks shapes; see `distill.formulas`."""
    signal: ClassVar[str] = "logits"
    """The output that it compares, with the teacher's of the same name or with its targets."""
    needs_targets: ClassVar[bool] = False
    target: ClassVar[str | None] = None
    """The target that it needs, where that is not the one of its output."""
    alone: ClassVar[bool] = True
    """Whether a model learns by it without another loss."""

    weight: Weight = Field(1.0, description=_WEIGHT)

    @property
    def needs(self) -> frozenset[str]:
        """The signals of the teacher that it compares with: outputs, embedding, features, or `features:LAYER` of a named layer."""
        return frozenset({self.signal})

    @property
    def watches(self) -> frozenset[str]:
        """The signals of the student that it compares beside its outputs."""
        return frozenset()

    @property
    def places(self) -> frozenset[str]:
        """The signals that have a row for each position of the output: of these it compares the positions that count."""
        return frozenset({self.signal})

    @property
    def takes_samples(self) -> bool:
        """Whether its gradient is right on average where the teacher's probabilities are those of samples that were drawn."""
        return self.signal not in self.needs


class CrossEntropy(Loss):
    """Cross-entropy with the labels."""

    formula: ClassVar[str] = "edgedistill.distill.formulas:cross_entropy"

    needs_targets: ClassVar[bool] = True

    label_smoothing: float = Field(0.0, ge=0, lt=1, description="Share of the target that is spread over all classes (arXiv:1512.00567).")

    @property
    def needs(self) -> frozenset[str]:
        """Nothing of a teacher."""
        return frozenset()


class Distillation(Loss):
    """Kullback-Leibler divergence from the teacher's softened answers (arXiv:1503.02531)."""

    formula: ClassVar[str] = "edgedistill.distill.formulas:distillation"

    temperature: Temperature = Field(4.0, description=_SOFTEN)
    standardize: bool = Field(
        False, description="Standardise each sample's logits first, so that only their shape is matched (arXiv:2403.01427)."
    )

    @property
    def takes_samples(self) -> bool:
        """The loss is linear in the teacher's probabilities where these are taken as they are."""
        return _ends(self.temperature) == (1.0, 1.0) and not self.standardize


class DecoupledDistillation(Loss):
    """The divergence in two parts, target class against the rest and among the rest (arXiv:2203.08679)."""

    formula: ClassVar[str] = "edgedistill.distill.formulas:decoupled_distillation"

    needs_targets: ClassVar[bool] = True

    temperature: Temperature = Field(4.0, description=_SOFTEN)
    alpha: float = Field(1.0, ge=0, description="Factor of the part on the target class.")
    beta: float = Field(8.0, ge=0, description="Factor of the part among the other classes.")


class CorrelationDistillation(Loss):
    """DIST: correlation with the teacher's answers, within each sample and within each class (arXiv:2205.10536)."""

    formula: ClassVar[str] = "edgedistill.distill.formulas:correlation_distillation"

    temperature: Temperature = Field(1.0, description=_SOFTEN)
    inter: float = Field(1.0, ge=0, description="Factor of the correlation over the classes of a sample.")
    intra: float = Field(1.0, ge=0, description="Factor of the correlation over the samples of a class.")


class ClassCalibration(Loss):
    """MDCA: mean confidence of each class against its frequency in the batch (arXiv:2203.13834)."""

    formula: ClassVar[str] = "edgedistill.distill.formulas:class_calibration"
    alone: ClassVar[bool] = False

    needs_targets: ClassVar[bool] = True

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

    @property
    def watches(self) -> frozenset[str]:
        """The student's feature map."""
        return frozenset({signal_of(self.layer)})


class Hint(_FeatureLoss):
    """FitNets: half the mean square of what a learned projector of the student's feature map misses of the teacher's (arXiv:1412.6550)."""

    formula: ClassVar[str] = "edgedistill.distill.formulas:hint"
    prepares: ClassVar[str] = "edgedistill.distill.formulas:hint_projectors"


class AttentionTransfer(_FeatureLoss):
    """Squared distance of the normalised maps of where both models look (arXiv:1612.03928)."""

    formula: ClassVar[str] = "edgedistill.distill.formulas:attention_transfer"
    prepares: ClassVar[str] = "edgedistill.distill.formulas:check_places"

    weight: Weight = Field(10.0, description=_WEIGHT)


class RelationalDistillation(Loss):
    """Distances and angles among the samples of a batch (arXiv:1904.05068)."""

    formula: ClassVar[str] = "edgedistill.distill.formulas:relational_distillation"

    distance: float = Field(25.0, ge=0, description="Factor of the part on distances of pairs.")
    angle: float = Field(50.0, ge=0, description="Factor of the part on angles of triplets.")

    @property
    def needs(self) -> frozenset[str]:
        """What the teacher's classifier is given."""
        return frozenset({"embedding"})

    @property
    def watches(self) -> frozenset[str]:
        """The student's embedding."""
        return frozenset({"embedding"})


class Regression(Loss):
    """Squared difference of the outputs from the teacher's, each divided by the variance of the teacher's, averaged over the outputs."""

    formula: ClassVar[str] = "edgedistill.distill.formulas:regression"
    signal: ClassVar[str] = OUTPUTS

    outputs: list[str] | None = Field(None, min_length=1, description="Names of the outputs that are compared; null for all.")


class FeatureRegression(_FeatureLoss):
    """Half the mean square of what a learned linear map of the student's features misses of the teacher's (arXiv:1412.6550)."""

    formula: ClassVar[str] = "edgedistill.distill.formulas:feature_regression"
    prepares: ClassVar[str] = "edgedistill.distill.formulas:linear_maps"

    layer: str = Field(description="Module of the student whose result is compared.")
    teacher_layer: str = Field(description="Module of the teacher whose result is compared.")
    channels: Literal["first", "last"] = Field(
        "first", description="Where the channels of both results are: behind the batch, or at the end as in a transformer."
    )


class ContrastiveDistillation(Loss):
    """Tell the teacher's embedding of the same image from those of other classes in the batch (arXiv:1910.10699)."""

    formula: ClassVar[str] = "edgedistill.distill.formulas:contrastive_distillation"
    prepares: ClassVar[str] = "edgedistill.distill.formulas:contrastive_projectors"

    needs_targets: ClassVar[bool] = True

    weight: Weight = Field(0.8, description=_WEIGHT)
    temperature: float = Field(0.1, gt=0, le=10, description="Cosines are divided by it.")
    dimensions: int = Field(128, ge=2, le=4096, description="Dimensions that both embeddings are projected to.")

    @property
    def needs(self) -> frozenset[str]:
        """What the teacher's classifier is given."""
        return frozenset({"embedding"})

    @property
    def watches(self) -> frozenset[str]:
        """The student's embedding."""
        return frozenset({"embedding"})


def signal_of(layer: str | None) -> str:
    """The name of the feature map of `layer`."""
    return "features" if layer is None else f"features:{layer}"


class Losses(Config):
    """The losses of a stage, summed with their weights. A task names those that it can use as fields of a subclass, each `X | None`."""

    @model_validator(mode="after")
    def _something_to_learn(self) -> "Losses":
        if not any(max(_ends(loss.weight)) > 0 for loss in self.used().values() if loss.alone):
            *first, last = self._alone()
            names = f"{', '.join(first)} and {last}" if first else last
            raise mistake(f"at least one of {names} with a weight above 0")
        return self

    @classmethod
    def _alone(cls) -> list[str]:
        """The losses that a model learns by without another."""
        return [
            name for name, field in cls.model_fields.items() if any(getattr(kind, "alone", False) for kind in get_args(field.annotation))
        ]

    def used(self) -> dict[str, Loss]:
        """The losses that the stage uses, by name."""
        return {name: loss for name in type(self).model_fields if (loss := getattr(self, name)) is not None}

    @property
    def needs(self) -> frozenset[str]:
        """The signals of the teacher that the stage's losses compare with; empty where none does."""
        return frozenset().union(*(loss.needs for loss in self.used().values()))

    @property
    def watches(self) -> frozenset[str]:
        """What the student has to give for these losses, beside its outputs."""
        return frozenset().union(*(loss.watches for loss in self.used().values()))
