"""The strict schema of a recipe. Importing it never imports torch; each field has a default, except the recipe's name."""

import functools
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    Field,
    JsonValue,
    ModelWrapValidatorHandler,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    create_model,
    model_validator,
)
from pydantic.json_schema import models_json_schema

from edgedistill import tasks
from edgedistill.recipe.base import Config, RecipeError, checks_paths, complaint, mistake, one_of
from edgedistill.recipe.data import DataConfig
from edgedistill.recipe.gate import Gate
from edgedistill.recipe.models import StudentConfig
from edgedistill.recipe.quantize import Quantize
from edgedistill.recipe.stages import Distill, distill_of
from edgedistill.recipe.targets import load_target

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


class Measure(Config):
    """How artifacts are timed."""

    threads: int = Field(1, ge=1, le=256, description="Threads that a runtime may use.")
    warmup_s: float = Field(0.5, ge=0, le=600, description="Seconds of inference before samples count.")
    max_s: float = Field(3.0, gt=0, le=3600, description="Seconds of sampling at most.")
    min_samples: int = Field(50, ge=1, le=1_000_000, description="Samples at least; p95 needs 20.")


class Licenses(Config):
    """Under which licences a bundle may be used, as SPDX identifiers (https://spdx.org/licenses) or texts."""

    code: str = Field("Apache-2.0", min_length=1, description="Of the glue code, which is edgedistill's.")
    data: str | None = Field(None, min_length=1, description="Of the training data.")
    teacher: str | None = Field(None, min_length=1, description="Of the teacher's weights.")


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


_Targets = Annotated[list[Annotated[str, AfterValidator(_known_target)]], Field(min_length=1, max_length=64)]


def _known_task(name: str) -> str:
    if name not in tasks.tasks():
        raise mistake(one_of(name, tasks.tasks()))
    return name


class Recipe(Config):
    """What a run does: a teacher, a student, data and targets. `recipe_model` adds what a task knows of them.

    Validated as `Recipe`, a value becomes the recipe of its task.
    """

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="Name of the runs: letters, digits, dots, hyphens and underscores, 64 at most.",
    )
    task: Annotated[str, AfterValidator(_known_task)] = Field(tasks.DEFAULT, description="What the models do.")
    seed: int = Field(0, ge=0, le=2**32 - 1, description="Seed of splits, initial weights, order and augmentation.")
    data: DataConfig = Field(description="Samples, and what happens to them before a model sees them.")
    teacher: Any = Field(description="The model to learn from, or several that are merged; null beside distill: null.")
    student: StudentConfig = Field(description="The model that is shipped.")
    distill: Distill | None = Field(description="How the student learns; null quantizes a trained one after its training.")
    quantize: Quantize = Field(Quantize(), description="How the student becomes int8.")
    targets: Annotated[
        list[Annotated[str, AfterValidator(_known_target)]], Field(min_length=1, max_length=64), AfterValidator(_each_once)
    ] = Field(["ios", "android", "raspberry-pi", "linux"], description="Names of targets, or paths of targets' YAML files.")
    measure: Measure = Field(Measure(), description="How artifacts are timed.")
    licenses: Licenses = Field(Licenses(), description="Licences that the manifest of a bundle names.")
    gate: Gate | None = Field(None, description="Rules by which `edgedistill gate` decides what may ship; null for none.")
    threads: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="Threads of training, teaching and calibration; null times the first steps with 1, 2 and more and takes the fastest.",
    )

    @property
    def members(self) -> list[Any]:
        """The teachers that answer; none where nothing is distilled."""
        return [] if self.teacher is None else self.teacher.members

    @property
    def models(self) -> list[tuple[str, Any]]:
        """The student and the teachers, each with its field."""
        several = len(self.members) > 1
        teachers = [(f"teacher.members.{number}" if several else "teacher", member) for number, member in enumerate(self.members)]
        return [("student", self.student), *teachers]

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

    @model_validator(mode="wrap")
    @classmethod
    def _of_its_task(cls, value: Any, handler: ModelWrapValidatorHandler[Any], info: ValidationInfo) -> Any:
        if cls is Recipe and not isinstance(value, Recipe):
            return recipe_model(task_of(value)).model_validate(value, context=info.context)
        return handler(value)

    @model_validator(mode="after")
    def _distils_or_not(self) -> "Recipe":
        if (self.teacher is None) != (self.distill is None):
            both = "teacher: null and distill: null together, since a student without a teacher is quantized as it is"
            raise mistake(both, "found " + ("teacher: null" if self.teacher is None else "distill: null"))
        task = tasks.task(self.task)
        if self.distill is not None and not task.writes and any(getattr(stage, "on_policy", 0) for stage in self.distill.stages):
            raise mistake("on_policy: 0, since models of this task write no answers", f"found on_policy with the task {task.name}")
        task.check(self)
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
                        f"losses of what it gives: the teacher {self.teacher.label} gives {', '.join(sorted(self.teacher.gives))}", found
                    )
        return self


def task_of(value: Any) -> str:
    """The task that a recipe names, as YAML or JSON says it; the default where it names none, or one that is not known."""
    name = value.get("task", tasks.DEFAULT) if isinstance(value, dict) else tasks.DEFAULT
    return name if isinstance(name, str) and name in tasks.tasks() else tasks.DEFAULT


@functools.cache
def recipe_model(task: str) -> type[Recipe]:
    """The model of the recipes of a task: the parts of every recipe, with what the task says of data, teacher, student and losses."""
    parts = tasks.task(task).parts()
    values = parts.defaults.get("distill", {})
    distill = distill_of(parts.losses, parts.defaults["stages"], values, trains_for=parts.defaults.get("qat", "int8"))
    kinds = {"data": parts.data, "teacher": parts.teacher | None, "student": parts.student, "distill": distill | None}
    made = {"data": {}, "distill": {}} | {name: value for name, value in parts.defaults.items() if name in ("data", "teacher", "student")}
    fields: dict[str, Any] = {}
    if "quantize" in parts.defaults:
        usual = Quantize.model_validate(parts.defaults["quantize"])
        fields["quantize"] = (Quantize, Field(usual, description=Recipe.model_fields["quantize"].description))
    for name, kind in kinds.items():
        described = Recipe.model_fields[name].description
        try:
            default = TypeAdapter(kind).validate_python(made[name])
        except (KeyError, ValidationError):
            if name in parts.defaults:
                raise
            # A part with a field that has no default is one that a recipe has to say.
            fields[name] = (kind, Field(description=described))
        else:
            fields[name] = (kind, Field(default, description=described))
    fields["task"] = (Recipe.__annotations__["task"], Field(task, description=Recipe.model_fields["task"].description))
    return create_model("Recipe", __base__=Recipe, __doc__="What a run does: a teacher, a student, data and targets.", **fields)


def recipe_schema() -> dict[str, JsonValue]:
    """The JSON Schema of a recipe, for editors that complete and check YAML."""
    models = [recipe_model(name) for name in tasks.tasks()]
    references, shared = models_json_schema([(model, "validation") for model in models])
    return {"$schema": _DIALECT, "title": "Recipe", "anyOf": list(references.values()), **shared}
