"""The distill part of a recipe: the stages hints, align, finetune and qat."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, TypeAdapter, create_model, model_validator

from edgedistill.recipe.base import Config, mistake, nearest
from edgedistill.recipe.losses import Losses

STAGES = ("hints", "align", "finetune", "qat")


def _stage_name(value: Any) -> Any:
    if value not in STAGES:
        raise mistake("'hints', 'align', 'finetune' or 'qat'" + nearest(value, STAGES))
    return value


_Epochs = Annotated[int, Field(ge=1, le=100_000)]
_LearningRate = Annotated[float, Field(gt=0, le=10)]
_Fraction = Annotated[float, Field(gt=0, le=1)]
_EPOCHS = "Passes over the training samples."
_LR = "Highest learning rate; it falls to 0 along a cosine, see distill.schedule."
_QAT_LR = "Highest learning rate of the stage; it falls to 0 along a cosine."


class TrainStage(Config):
    """A stage in floating point."""

    name: Annotated[Literal["hints", "align", "finetune"], BeforeValidator(_stage_name)] = Field(
        description="hints teaches features, align the teacher's answers, finetune the targets too; in this order."
    )
    epochs: _Epochs = Field(4, description=_EPOCHS)
    lr: _LearningRate = Field(1.0e-3, description=_LR)
    losses: Losses = Field(description="What the stage minimises.")
    online: bool = Field(
        False,
        description="Ask the teacher at each step instead of caching its answers: a new view of each sample in each epoch, and mixup.",
    )
    mixup: bool = Field(
        False, description="Blend pairs of samples by a random share, as function matching does (arXiv:2106.05237); needs online: true."
    )

    on_policy: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of the steps whose answers the student draws itself, which the teacher then judges (arXiv:2306.13649); needs "
        "online: true and a task that writes, such as causal-lm.",
    )

    @model_validator(mode="after")
    def _drawn_answers_are_judged_at_once(self) -> "TrainStage":
        if self.on_policy and not self.online:
            raise mistake("online: true beside on_policy, since answers that the student draws are in no cache", "found online: false")
        if self.on_policy and not self.losses.needs:
            raise mistake("a loss that compares with the teacher beside on_policy, since drawn answers have no targets", "found none")
        return self

    @model_validator(mode="after")
    def _blended_samples_have_no_target(self) -> "TrainStage":
        if self.mixup and not self.online:
            raise mistake("online: true beside mixup: true, since blended samples are in no cache", "found online: false")
        if self.mixup and (targeted := [name for name, loss in self.losses.used().items() if loss.needs_targets]):
            raise mistake("losses that need no targets, since blended samples have none", f"found mixup: true with {', '.join(targeted)}")
        return self


class QatStage(Config):
    """Quantization-aware training, the last stage."""

    name: Literal["qat"] = Field(description="Quantization-aware training, the last stage; without it files are quantized after training.")
    precision: Literal["int8", "int4-dynamic"] = Field(
        "int8",
        description="What weights and activations are rounded to in training: files of int8 come of the stage, or those of 4 bits "
        "(int4-dynamic and int4-weights). All other files are made of the student before it.",
    )
    epochs: _Epochs = Field(3, description=_EPOCHS)
    lr: _LearningRate = Field(1.0e-4, description=_QAT_LR)
    losses: Losses = Field(description="What the stage minimises.")
    online: bool = Field(
        False, description="Ask the teacher at each step instead of caching its answers: a new view of each sample in each epoch."
    )
    ranges: Literal["observed", "learned"] = Field(
        "observed",
        description="observed: a moving mean of what was seen; learned: trained too after freeze_observers (arXiv:1902.08153).",
    )
    freeze_batchnorm: _Fraction = Field(0.34, description="Fraction of the stage's steps after which BatchNorm statistics are frozen.")
    freeze_observers: _Fraction = Field(0.67, description="Fraction of the stage's steps after which quantization ranges are frozen.")

    @model_validator(mode="after")
    def _has_what_it_sets(self) -> "QatStage":
        # By value: in a recipe that was recorded every field is set.
        fields = type(self).model_fields
        idle = [name for name in ("ranges", "freeze_batchnorm", "freeze_observers") if getattr(self, name) != fields[name].default]
        if self.precision != "int8" and idle:
            found = f"found {', '.join(idle)} beside precision: {self.precision}"
            raise mistake("them with precision: int8 only, since no other settles ranges of activations", found)
        return self

    @model_validator(mode="after")
    def _fits_the_program(self) -> "QatStage":
        if self.precision != "int8":
            return self
        if self.freeze_batchnorm > self.freeze_observers:
            found = f"found freeze_batchnorm {self.freeze_batchnorm} above freeze_observers {self.freeze_observers}"
            raise mistake("freeze_batchnorm at most freeze_observers, since ranges follow the statistics", found)
        if features := [name for name, loss in self.losses.used().items() if loss.watches]:
            raise mistake("losses of outputs, since a quantized program gives nothing else", f"found {', '.join(features)} in qat")
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
    if names in ([], ["qat"]) or names != [name for name in STAGES if name in names]:
        found = f"found {', '.join(names) or 'no stages'}"
        raise mistake("one or more of hints, align and finetune, and then qat or nothing: each at most once, in this order", found)
    return stages


class Cache(Config):
    """How the teacher's answers are kept on disk."""

    dtype: Literal["float16", "float32"] = Field("float16", description="Type of every number.")
    top_k: int | None = Field(
        None,
        ge=1,
        le=65536,
        description="Keep only the largest K probabilities and the mass of the rest: for a thousand numbers or more.",
    )
    sampled: int | None = Field(
        None,
        ge=1,
        le=65536,
        description="Keep N numbers that are drawn by their probabilities instead: right on average for kd at temperature 1 "
        "(arXiv:2503.16870).",
    )

    @model_validator(mode="after")
    def _one_way_to_save_room(self) -> "Cache":
        if self.top_k is not None and self.sampled is not None:
            raise mistake("top_k or sampled, and null for the other", f"found top_k: {self.top_k} beside sampled: {self.sampled}")
        return self


class Distill(Config):
    """How the student learns."""

    control: bool = Field(
        True,
        description="Also train the same student without the teacher, for as many steps and samples: what tells if distillation helped.",
    )
    schedule: Literal["joint", "per-stage"] = Field(
        "joint",
        description="joint: one warm-up and one cosine over all floating-point stages, times the lr of each; per-stage: one for each.",
    )
    weight_decay: float = Field(0.05, ge=0, le=10, description="Weight decay of AdamW.")
    beta2: float = Field(
        0.95,
        ge=0,
        lt=1,
        description="Decay of AdamW's mean of squared gradients: in short trainings students learn more with 0.95 than with 0.999.",
    )
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
        description="Epochs without a better score on val after which a floating-point stage ends, with the weights of its best epoch.",
    )
    trackers: list[Literal["tensorboard", "mlflow", "wandb"]] = Field(
        [], description="Where the curves go beside curve.jsonl; each needs its package."
    )
    calibrate: bool = Field(
        True, description="Divide the student's outputs by a temperature fitted on val, inside the last layer (arXiv:1706.04599)."
    )
    cache: Cache = Field(Cache(), description="How the teacher's answers are kept on disk.")
    stages: Annotated[list[Stage], AfterValidator(_in_order)] = Field(
        description="One or more of hints, align and finetune, and then qat or nothing."
    )

    @model_validator(mode="after")
    def _losses_suit_what_was_drawn(self) -> "Distill":
        if self.cache.sampled is None:
            return self
        for stage in self.stages:
            wrong = [name for name, loss in stage.losses.used().items() if not loss.takes_samples]
            if wrong and not getattr(stage, "online", False):
                expected = "cache.top_k instead, since drawn answers are right on average for kd at temperature 1 only"
                raise mistake(expected, f"found cache.sampled: {self.cache.sampled} beside {', '.join(wrong)} of the stage {stage.name}")
        return self

    @property
    def floating(self) -> list[Any]:
        """The stages in floating point."""
        return [stage for stage in self.stages if isinstance(stage, TrainStage)]

    @property
    def qat(self) -> QatStage | None:
        """The stage of quantization-aware training; None where files are quantized after training."""
        return next((stage for stage in self.stages if isinstance(stage, QatStage)), None)


def distill_of(
    losses: type[Losses], stages: Sequence[Mapping[str, object]], values: Mapping[str, object], *, trains_for: str = "int8"
) -> type[Distill]:
    """The distill part for a task: its stages name the losses of `losses`.

    stages: those of a recipe that names none, as YAML would say them; a stage without losses minimises those of the last of them, and a
    floating-point stage without lr has that of the first. values: of other fields, where a recipe leaves them out. trains_for: the
    precision of a stage qat that names none.
    """
    usual = losses.model_validate(stages[-1]["losses"])
    described = TrainStage.model_fields["losses"].description
    # The names stay, since errors name the members of a union by them.
    fields: dict[str, Any] = {"losses": (losses, Field(usual, description=described))}
    rate = TrainStage.model_fields["lr"]
    lr: dict[str, Any] = {"lr": (_LearningRate, Field(stages[0].get("lr", rate.default), description=rate.description))}
    precision = QatStage.model_fields["precision"]
    trained: dict[str, Any] = {"precision": (precision.annotation, Field(trains_for, description=precision.description))}
    kinds: list[Any] = [
        create_model(kind.__name__, __base__=kind, __doc__=kind.__doc__, **fields, **more)
        for kind, more in ((TrainStage, lr), (QatStage, trained))
    ]
    tagged: list[Any] = [Annotated[kind, Tag(f"union:{kind.__name__}")] for kind in kinds]
    stage: Any = Annotated[tagged[0] | tagged[1], Discriminator(_stage_kind)]
    plan = Annotated[list[stage], AfterValidator(_in_order)]
    default = TypeAdapter(list[stage]).validate_python(stages)
    described = Distill.model_fields["stages"].description
    others: dict[str, Any] = {
        name: (Distill.model_fields[name].annotation, Field(value, description=Distill.model_fields[name].description))
        for name, value in values.items()
    }
    stages_field: Any = (plan, Field(default, description=described))
    return create_model("Distill", __base__=Distill, __doc__=Distill.__doc__, stages=stages_field, **others)
