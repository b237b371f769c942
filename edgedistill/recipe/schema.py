"""The strict schema of a recipe. Importing it never imports torch; each field has a default, except the recipe's name."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from edgedistill.recipe.base import CheckpointPath, Config, RecipeError, checks_paths, complaint, mistake
from edgedistill.recipe.data import Data
from edgedistill.recipe.stages import Distill
from edgedistill.recipe.targets import load_target


class Train(Config):
    """Training of the teacher on the labels, before it teaches."""

    epochs: int = Field(8, ge=1, le=100_000, description="Passes over the training images.")
    lr: float = Field(1.0e-3, gt=0, le=10, description="Highest learning rate; it falls to 0 along a cosine.")
    weight_decay: float = Field(0.05, ge=0, le=10, description="Weight decay of AdamW.")
    warmup: float = Field(0.1, ge=0, lt=1, description="Fraction of the steps over which the learning rate rises from 0.")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="Share of the target that is spread over all classes.")
    allow_label_smoothing: bool = Field(
        False, description="Needed for label_smoothing, which makes a teacher more accurate and a worse teacher (arXiv:1906.02629)."
    )

    @model_validator(mode="after")
    def _teaches_well(self) -> "Train":
        if self.label_smoothing and not self.allow_label_smoothing:
            found = f"found label_smoothing {self.label_smoothing:g}"
            raise mistake("0, since a teacher trained with it teaches worse (arXiv:1906.02629); allow_label_smoothing: true insists", found)
        return self


class _Model(Config):
    checkpoint: CheckpointPath | None = Field(None, description="safetensors file with the weights to start from.")
    pretrained: bool = Field(False, description="Start from timm's pretrained weights, which timm downloads.")

    @model_validator(mode="after")
    def _one_start(self) -> "_Model":
        if self.checkpoint is not None and self.pretrained:
            raise mistake("one of the two, since both say where the weights come from", "found checkpoint and pretrained: true")
        return self


class Teacher(_Model):
    """The model to learn from."""

    model: str = Field("resnet18", min_length=1, description="timm name of the teacher.")
    train: Train | None = Field(Train(), description="Train the teacher first; null uses it as given by checkpoint or pretrained.")

    @model_validator(mode="after")
    def _knows_something(self) -> "Teacher":
        if self.train is None and self.checkpoint is None and not self.pretrained:
            raise mistake("train, checkpoint or pretrained: true, since an untrained teacher teaches noise", "found none of them")
        return self


class Student(_Model):
    """The model that is shipped."""

    model: str = Field(
        "mobilenetv4_conv_small", min_length=1, description="timm name of the student; activations that quantize well are ReLU and ReLU6."
    )


class Measure(Config):
    """How artifacts are timed."""

    threads: int = Field(1, ge=1, le=256, description="Threads that a runtime may use.")
    warmup_s: float = Field(0.5, ge=0, le=600, description="Seconds of inference before samples count.")
    max_s: float = Field(3.0, gt=0, le=3600, description="Seconds of sampling at most.")
    min_samples: int = Field(50, ge=1, le=1_000_000, description="Samples at least; p95 needs 20.")


def _known_target(name: str, info: ValidationInfo) -> str:
    if checks_paths(info):
        try:
            load_target(name)
        except RecipeError as error:
            raise complaint("; ".join(error.errors)) from error
    return name


def _each_once(names: list[str]) -> list[str]:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise mistake("each target once", f"found {', '.join(twice)} more than once")
    return names


class Recipe(Config):
    """What a run does: a teacher, a student, data and targets."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="Name of the runs: letters, digits, dots, hyphens and underscores, 64 at most.",
    )
    task: Literal["image-classification"] = Field("image-classification", description="What the models do.")
    seed: int = Field(0, ge=0, le=2**32 - 1, description="Seed of splits, initial weights, order and augmentation.")
    data: Data = Field(Data(), description="Samples, and what happens to them before a model sees them.")
    teacher: Teacher = Field(Teacher(), description="The model to learn from.")
    student: Student = Field(Student(), description="The model that is shipped.")
    distill: Distill = Field(Distill(), description="How the student learns.")
    targets: Annotated[list[Annotated[str, AfterValidator(_known_target)]], Field(min_length=1), AfterValidator(_each_once)] = Field(
        ["ios", "android", "raspberry-pi", "linux"], description="Names of targets, or paths of targets' YAML files."
    )
    measure: Measure = Field(Measure(), description="How artifacts are timed.")


def recipe_schema() -> dict[str, Any]:
    """The JSON Schema of a recipe, for editors that complete and check YAML."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Recipe.model_json_schema()}
