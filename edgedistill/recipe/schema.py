"""The strict schema of a recipe. Importing it never imports torch; each field has a default, except the recipe's name."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from edgedistill.recipe.base import Config, RecipeError, checks_paths, complaint, mistake
from edgedistill.recipe.data import Data
from edgedistill.recipe.stages import Distill
from edgedistill.recipe.targets import load_target
from edgedistill.recipe.teachers import Pretrained, Teacher, TimmTeacher

Argument = bool | int | float | str


class Student(Pretrained):
    """The model that is shipped."""

    model: str = Field(
        "mobilenetv4_conv_small", min_length=1, description="timm name of the student; activations that quantize well are ReLU and ReLU6."
    )
    arguments: dict[str, Argument | list[Argument]] = Field(
        {},
        description="Arguments of the timm model, as `layers: [1, 1, 1, 1]` for a shallower or `channels: [32, 64, 128, 256]` for "
        "a narrower resnet18.",
    )
    activation: Literal["relu", "relu6"] | None = Field(
        None,
        description="Put it in the place of Hardswish, SiLU, GELU and Mish, and Sigmoid in that of Hardsigmoid gates; null keeps them.",
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
    teacher: Teacher = Field(TimmTeacher(), description="The model to learn from, or several that are merged.")
    student: Student = Field(Student(), description="The model that is shipped.")
    distill: Distill = Field(Distill(), description="How the student learns.")
    targets: Annotated[list[Annotated[str, AfterValidator(_known_target)]], Field(min_length=1), AfterValidator(_each_once)] = Field(
        ["ios", "android", "raspberry-pi", "linux"], description="Names of targets, or paths of targets' YAML files."
    )
    measure: Measure = Field(Measure(), description="How artifacts are timed.")

    @property
    def teacher_steps(self) -> list[str]:
        """The names of the steps that make the teachers ready, in the order of the teacher's members."""
        members = self.teacher.members
        return ["teacher"] if len(members) == 1 else [f"teacher-{member.name}" for member in members]

    @model_validator(mode="after")
    def _teacher_gives_what_losses_need(self) -> "Recipe":
        for stage in self.distill.stages:
            for name, loss in stage.losses.used().items():
                if missing := sorted({signal.split(":")[0] for signal in loss.needs} - self.teacher.gives):
                    found = f"found the loss {name} in stage {stage.name}, which needs the teacher's {' and '.join(missing)}"
                    raise mistake(
                        f"losses of logits alone: the teacher {self.teacher.label} gives {', '.join(sorted(self.teacher.gives))}", found
                    )
        return self


def recipe_schema() -> dict[str, Any]:
    """The JSON Schema of a recipe, for editors that complete and check YAML."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Recipe.model_json_schema()}
