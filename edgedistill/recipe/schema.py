"""The strict schema of a recipe. Importing it never imports torch; each field has a default, except the recipe's name."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from edgedistill.recipe.base import Config, RecipeError, checks_paths, complaint, mistake
from edgedistill.recipe.data import Data, Images
from edgedistill.recipe.quantize import Quantize
from edgedistill.recipe.stages import Distill
from edgedistill.recipe.student import AnyStudent, Student, TorchStudent
from edgedistill.recipe.targets import load_target
from edgedistill.recipe.teachers import Teacher, TimmTeacher


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
    teacher: Teacher | None = Field(
        TimmTeacher(), description="The model to learn from, or several that are merged; null beside distill: null."
    )
    student: AnyStudent = Field(Student(), description="The model that is shipped.")
    distill: Distill | None = Field(Distill(), description="How the student learns; null quantizes a trained one after its training.")
    quantize: Quantize = Field(Quantize(), description="How the student becomes int8.")
    targets: Annotated[list[Annotated[str, AfterValidator(_known_target)]], Field(min_length=1), AfterValidator(_each_once)] = Field(
        ["ios", "android", "raspberry-pi", "linux"], description="Names of targets, or paths of targets' YAML files."
    )
    measure: Measure = Field(Measure(), description="How artifacts are timed.")

    @property
    def members(self) -> list[Any]:
        """The teachers that answer; none where nothing is distilled."""
        return [] if self.teacher is None else self.teacher.members

    @property
    def teacher_steps(self) -> list[str]:
        """The names of the steps that make the teachers ready, in the order of the teacher's members."""
        return ["teacher"] if len(self.members) == 1 else [f"teacher-{member.name}" for member in self.members]

    @property
    def learning(self) -> Distill:
        """How the student learns, for what is done only where it does."""
        if self.distill is None:
            raise ValueError(f"{self.name} distils nothing")
        return self.distill

    @model_validator(mode="after")
    def _distils_or_not(self) -> "Recipe":
        if (self.teacher is None) != (self.distill is None):
            both = "teacher: null and distill: null together, since a student without a teacher is quantized as it is"
            raise mistake(both, "found " + ("teacher: null" if self.teacher is None else "distill: null"))
        if isinstance(self.student, TorchStudent):
            if self.distill is not None:
                raise mistake("teacher: null and distill: null, since only timm models are trained", "found student.torch")
        elif self.distill is None and self.student.checkpoint is None and not self.student.pretrained:
            raise mistake("student.checkpoint or student.pretrained: true, since nothing is trained", "found neither beside distill: null")
        if isinstance(self.data.source, Images) and not isinstance(self.student, TorchStudent):
            raise mistake("student.torch beside data.source.images, since a timm model needs to know its classes", "found a timm model")
        return self

    @model_validator(mode="after")
    def _teacher_gives_what_losses_need(self) -> "Recipe":
        if self.teacher is None or self.distill is None:
            return self
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
