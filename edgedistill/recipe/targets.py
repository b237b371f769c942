"""Targets: what a kind of device needs. One YAML a target; those of the package, or a path of the user's own."""

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from edgedistill.backends import backend, backends, formats
from edgedistill.recipe import inputs, precisions
from edgedistill.recipe.base import Config, RecipeError, at_home, mistake, nearest, one_of, why_not
from edgedistill.recipe.mistakes import find_mistakes
from edgedistill.recipe.packaged import packaged
from edgedistill.recipe.reading import dotted, line_of, read_text, read_yaml
from edgedistill.records import ArtifactSpec

_FOLDER = packaged("targets")


class TargetArtifact(Config):
    """One file that a bundle for the target holds."""

    format: str = Field(description="Runtime that the file is for.")
    precision: precisions.Precision = Field(description="int8 and floating point everywhere; of the rest what the format can hold.")
    input: inputs.Input = Field(
        inputs.DEFAULT, description="uint8-nhwc, or image where the system has images: the bytes of a camera's frame, each byte / 255."
    )
    delegate: str | None = Field(None, description="What computes the file, where the format lets it name another delegate.")

    @field_validator("format")
    @classmethod
    def _known(cls, format_: str) -> str:
        if format_ not in formats():
            raise mistake(one_of(format_, formats()))
        return format_

    @field_validator("delegate")
    @classmethod
    def _usual(cls, delegate: str | None, info: ValidationInfo) -> str | None:
        every = dict.fromkeys(name for own in backends().values() for name in (own.default_delegate, *own.delegates) if name)
        if delegate is not None and delegate not in every:
            raise mistake(one_of(delegate, every))
        own = backends().get(info.data.get("format", ""))
        # The default has one spelling, so that a file is known as the same file.
        return None if own is not None and own.delegates and delegate == own.default_delegate else delegate

    @model_validator(mode="after")
    def _exists(self) -> "TargetArtifact":
        if expected := precisions.refusal(self.format, self.precision, self.delegate):
            raise mistake(expected, f"found {self.precision}{f' for {self.delegate}' if self.delegate else ''}")
        if expected := inputs.refusal(self.format, self.input, self.delegate):
            raise mistake(expected, f"found {self.input}{f' for {self.delegate}' if self.delegate else ''}")
        return self

    @property
    def spec(self) -> ArtifactSpec:
        """The file that is meant, made of the student."""
        return ArtifactSpec(self.format, self.precision, input=self.input, delegate=self.delegate)


class Budgets(Config):
    """Limits that each int8 artifact of a target has to keep, in formats whose runtime gives parts of a file to a delegate."""

    partitions: int | None = Field(None, ge=1, description="Most parts that the delegate may take; null is no limit.")
    fallbacks: int | None = Field(None, ge=0, description="Most operators that the delegate may leave; null is no limit.")


class DeviceBudgets(Config):
    """Limits on a device of the kind, that the suite in device_tests holds each artifact to; null is no limit."""

    p50_ms: float | None = Field(None, gt=0, description="Median latency at batch 1.")
    p95_ms: float | None = Field(None, gt=0, description="95th percentile of the latency.")
    p99_ms: float | None = Field(None, gt=0, description="99th percentile of the latency.")
    load_ms: float | None = Field(None, gt=0, description="First load in a new process.")
    peak_rss_mb: float | None = Field(None, gt=0, description="Peak of memory while loading and running once, in MiB.")
    mj_per_inference: float | None = Field(None, gt=0, description="Energy of an inference, in mJ.")


Language = Literal["kotlin", "swift", "python", "typescript"]


class Target(Config):
    """A kind of device, and the artifacts that it wants."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="Name of the target and of its bundle's folder.")
    description: str = Field(min_length=1, description="One sentence on the devices that are meant.")
    minimum_os: str = Field(min_length=1, description="Oldest operating system that the bundle is for.")
    artifacts: list[TargetArtifact] = Field(min_length=1, description="Files of a bundle.")
    glue: list[Language] = Field([], description="Languages of the glue code in a bundle.")
    budgets: Budgets = Field(Budgets(), description="Limits that its int8 artifacts have to keep where a delegate can leave operators.")

    device_budgets: DeviceBudgets = Field(DeviceBudgets(), description="Limits of latency, memory and energy on an attached device.")

    @field_validator("artifacts")
    @classmethod
    def _each_once(cls, artifacts: list[TargetArtifact]) -> list[TargetArtifact]:
        seen = [" ".join(str(value) for value in artifact.model_dump(exclude_none=True).values()) for artifact in artifacts]
        for text in seen:
            if seen.count(text) > 1:
                raise mistake("each artifact once", f"found {text} {seen.count(text)} times")
        return artifacts

    @model_validator(mode="after")
    def _checked(self) -> "Target":
        # Do not accept a limit that nothing checks.
        if self.budgets.model_dump(exclude_none=True) and not self.budgeted:
            found = ", ".join(f"{a.format} {a.precision}" for a in self.artifacts)
            delegating = [own.format for own in backends().values() if own.budgeted]
            raise mistake(f"no budgets, or an int8 artifact of {' or '.join(delegating)} to keep them", f"found budgets for {found}")
        if self.budgets.fallbacks == 0 and any(inputs.takes_bytes(a.input) for a in self.budgeted):
            raise mistake("at most 1 fallback or more, since its delegate takes no bytes: what converts them is left", "found fallbacks: 0")
        return self

    @property
    def budgeted(self) -> list[TargetArtifact]:
        """The artifacts that budgets count for."""
        return [a for a in self.artifacts if backend(a.format).budgeted and a.precision == "int8" and a.delegate is None]


def list_targets() -> list[str]:
    """Names of the targets that come with the package, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def load_target(name_or_path: str) -> Target:
    """Read a target by name, or from the path of a YAML file; a file of the user's goes before a name.

    Raises:
        RecipeError: there is no such target or file, or the file has mistakes (all are told).
    """
    path = at_home(Path(name_or_path))
    packaged = _FOLDER / f"{name_or_path}.yaml"
    if why_not(path, "file"):
        if name_or_path not in list_targets():
            names = list_targets()
            error = f"found no target '{name_or_path}', expected the path of a YAML file or one of {', '.join(names)}"
            raise RecipeError("targets", [error + nearest(name_or_path, names)])
        path = packaged
    value, lines = read_yaml(read_text(path, str(path)), str(path))
    target, mistakes = find_mistakes(Target, value)
    if target is None:
        placed = sorted((line_of(lines, at), dotted(at) or "target", said) for at, said in mistakes)
        raise RecipeError(str(path), [f"{path}:{line}: {field}: {said}" for line, field, said in placed])
    return target
