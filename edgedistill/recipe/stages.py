"""The distill part of a recipe: the stages hints, align, finetune and qat."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from edgedistill.recipe.base import Config, mistake, nearest
from edgedistill.recipe.losses import CrossEntropy, Distillation, Losses

STAGES = ("hints", "align", "finetune", "qat")


def _stage_name(value: Any) -> Any:
    if value not in STAGES:
        raise mistake("'hints', 'align', 'finetune' or 'qat'" + nearest(value, STAGES))
    return value


_Epochs = Annotated[int, Field(ge=1, le=100_000)]
_LearningRate = Annotated[float, Field(gt=0, le=10)]
_Fraction = Annotated[float, Field(gt=0, le=1)]
_EPOCHS = "Passes over the training images."
_LR = "Highest learning rate of the stage; it falls to 0 along a cosine."


class TrainStage(Config):
    """A stage in floating point."""

    name: Annotated[Literal["hints", "align", "finetune"], BeforeValidator(_stage_name)] = Field(
        description="hints teaches features, align the teacher's answers, finetune the labels too; in this order."
    )
    epochs: _Epochs = Field(4, description=_EPOCHS)
    lr: _LearningRate = Field(1.0e-3, description=_LR)
    losses: Losses = Field(Losses(ce=CrossEntropy(weight=0.5), kd=Distillation(weight=0.5)), description="What the stage minimises.")
    online: bool = Field(
        False, description="Ask the teacher at each step instead of caching its answers: a new view of each image in each epoch, and mixup."
    )
    mixup: bool = Field(
        False, description="Blend pairs of images by a random share, as function matching does (arXiv:2106.05237); needs online: true."
    )

    @model_validator(mode="after")
    def _blended_images_have_no_label(self) -> "TrainStage":
        if self.mixup and not self.online:
            raise mistake("online: true beside mixup: true, since blended images are in no cache", "found online: false")
        if self.mixup and (labelled := [name for name, loss in self.losses.used().items() if loss.needs_labels]):
            raise mistake("losses that need no labels, since blended images have none", f"found mixup: true with {', '.join(labelled)}")
        return self


class QatStage(Config):
    """Quantization-aware training, the last stage."""

    name: Literal["qat"] = Field(description="Quantization-aware training; needed once, as the last stage.")
    epochs: _Epochs = Field(3, description=_EPOCHS)
    lr: _LearningRate = Field(1.0e-4, description=_LR)
    losses: Losses = Field(Losses(ce=CrossEntropy(weight=0.5), kd=Distillation(weight=0.5)), description="What the stage minimises.")
    freeze_batchnorm: _Fraction = Field(0.34, description="Fraction of the stage's steps after which BatchNorm statistics are frozen.")
    freeze_observers: _Fraction = Field(0.67, description="Fraction of the stage's steps after which quantization ranges are frozen.")

    @model_validator(mode="after")
    def _fits_the_program(self) -> "QatStage":
        if self.freeze_batchnorm > self.freeze_observers:
            found = f"found freeze_batchnorm {self.freeze_batchnorm} above freeze_observers {self.freeze_observers}"
            raise mistake("freeze_batchnorm at most freeze_observers, since ranges follow the statistics", found)
        if features := [name for name, loss in self.losses.used().items() if loss.needs - {"logits"}]:
            raise mistake("losses of logits, since a quantized program gives nothing else", f"found {', '.join(features)} in qat")
        return self


def _stage_kind(value: Any) -> str:
    name = value.get("name") if isinstance(value, dict) else getattr(value, "name", None)
    return "union:QatStage" if name == "qat" else "union:TrainStage"


Stage = Annotated[
    Annotated[TrainStage, Tag("union:TrainStage")] | Annotated[QatStage, Tag("union:QatStage")],
    Discriminator(_stage_kind),
]


def _in_order(stages: list[Stage]) -> list[Stage]:
    names = [stage.name for stage in stages]
    if len(names) < 2 or names != [name for name in STAGES if name in names] or names[-1] != "qat":
        found = f"found {', '.join(names) or 'no stages'}"
        raise mistake("one or more of hints, align and finetune, and then qat: each at most once, in this order", found)
    return stages


_DEFAULT_STAGES: list[Stage] = [
    TrainStage(name="align", lr=2.0e-3, losses=Losses(kd=Distillation())),
    TrainStage(name="finetune"),
    QatStage(name="qat"),
]


class Cache(Config):
    """How the teacher's answers are kept on disk."""

    dtype: Literal["float16", "float32"] = Field("float16", description="Type of every number.")
    top_k: int | None = Field(
        None, ge=1, le=65536, description="Keep only the largest K probabilities and the mass of the rest: for a thousand classes or more."
    )


class Distill(Config):
    """How the student learns."""

    control: bool = Field(
        True,
        description="Also train the same student without the teacher, for as many steps and images: what tells if distillation helped.",
    )
    weight_decay: float = Field(0.05, ge=0, le=10, description="Weight decay of AdamW.")
    ema: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Decay, such as 0.999, of an exponential mean of the floating-point weights, which is kept instead of the last.",
    )
    accumulate: int = Field(1, ge=1, le=1024, description="Parts that a batch is computed in, one after the other, to save memory.")
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        "fp32", description="Of matrix products and convolutions in training; losses and the stage qat keep fp32. bf16 is the safer one."
    )
    patience: int | None = Field(
        None,
        ge=1,
        description="Epochs without a better accuracy on val after which a floating-point stage ends, with the weights of its best epoch.",
    )
    trackers: list[Literal["tensorboard", "mlflow", "wandb"]] = Field(
        [], description="Where the curves go beside curve.jsonl; each needs its package."
    )
    calibrate: bool = Field(
        True, description="Divide the student's logits by a temperature fitted on val, inside the last layer (arXiv:1706.04599)."
    )
    cache: Cache = Field(Cache(), description="How the teacher's answers are kept on disk.")
    stages: Annotated[list[Stage], AfterValidator(_in_order)] = Field(
        _DEFAULT_STAGES, description="One or more of hints, align and finetune, and then qat."
    )
