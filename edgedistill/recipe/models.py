"""What teachers and students of every task have in a recipe."""

from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, ValidationInfo

from edgedistill.recipe.base import CheckpointPath, Config, mistake


class Train(Config):
    """Training of a teacher on the targets, before it teaches."""

    epochs: int = Field(8, ge=1, le=100_000, description="Passes over the training samples.")
    lr: float = Field(1.0e-3, gt=0, le=10, description="Highest learning rate; it falls to 0 along a cosine.")
    weight_decay: float = Field(0.05, ge=0, le=10, description="Weight decay of AdamW.")
    warmup: float = Field(0.1, ge=0, lt=1, description="Fraction of the steps over which the learning rate rises from 0.")


class StudentConfig(Config):
    """The model that is shipped."""

    @property
    def label(self) -> str:
        """What to call it in a report."""
        raise NotImplementedError


class TeacherConfig(Config):
    """A model to learn from."""

    gives: ClassVar[frozenset[str]] = frozenset()
    """The signals that it can give, `features` for every `features:MODULE`."""
    is_file: ClassVar[bool] = False
    """Whether it is a model file, which a runtime of its own executes."""
    only_writes: ClassVar[bool] = False
    """Whether it writes answers and tells nothing else, as a service does: then there is no module of it."""
    asked: ClassVar[frozenset[str]] = frozenset()
    """Fields that say what it is asked for: another of them leaves the model and its signals as they are."""
    lowered: ClassVar[bool] = False
    """Whether it is lowered beside the student, to be measured."""

    name: str = Field("teacher", pattern=r"^[A-Za-z0-9][A-Za-z0-9_]{0,31}$", description="Its name among several teachers.")

    @property
    def members(self) -> list[Any]:
        """The teachers that answer: here this one."""
        return [self]

    @property
    def label(self) -> str:
        """What to call it in a report."""
        raise NotImplementedError


def files_of(config: Config) -> list[Path]:
    """The files that a student or teacher is made of."""
    return [value for name in type(config).model_fields if isinstance(value := getattr(config, name), Path)]


def _trusted(value: str, info: ValidationInfo) -> str:
    if info.context and info.context.get("check_paths") and not info.context.get("trust_code"):
        raise mistake("--trust-code on the command line, since this names code to run")
    return value


CodeReference = Annotated[str, AfterValidator(_trusted)]
"""`package.module:function`, which the user has to allow."""


class TorchModule(Config):
    """A PyTorch module that a function of yours makes."""

    torch: CodeReference = Field(
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$",
        description="`package.module:function`, called without arguments; it returns a module. Needs --trust-code.",
    )
    checkpoint: CheckpointPath | None = Field(None, description="safetensors file that is loaded into the module.")

    @property
    def label(self) -> str:
        """What to call it in a report."""
        return self.torch
