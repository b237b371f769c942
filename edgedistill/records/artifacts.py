"""Artifacts: what is to be made, and what was made."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import ConfigDict, Field, computed_field

from edgedistill.records.base import Record
from edgedistill.signature import Signature


class ArtifactSpec(Record):
    """One file to make: a format, a precision, whose program it is, what it takes, and what computes it.

    role: whose program, student or teacher. input: a kind of `recipe.inputs`.
    delegate: one that the format lets a file name; None is its default.
    sizes: of dimensions that vary in the program and not in the file, by their names; None where no dimension is set so.
    """

    model_config = ConfigDict(frozen=True)
    left_out: ClassVar[tuple[str, ...]] = ("sizes",)

    format: str
    precision: str
    role: str = "student"
    input: str = "float32-nchw"
    delegate: str | None = None
    sizes: dict[str, int] | None = None

    def __hash__(self) -> int:
        return hash((self.format, self.precision, self.role, self.input, self.delegate))

    def __init__(self, format: str, precision: str, role: str = "student", **fields: Any) -> None:
        super().__init__(format=format, precision=precision, role=role, **fields)

    @property
    def spec(self) -> ArtifactSpec:
        """The spec alone, without what is known of the file."""
        return ArtifactSpec(**{name: getattr(self, name) for name in ArtifactSpec.model_fields})

    @computed_field  # type: ignore[prop-decorator]
    @property
    def name(self) -> str:
        """File name of the artifact."""
        # Late, since formats that other packages add are looked up.
        from edgedistill.backends import backend
        from edgedistill.recipe.inputs import SUFFIXES

        delegate = f"-{self.delegate}" if self.delegate else ""
        sizes = "".join(f"-{name}{size}" for name, size in (self.sizes or {}).items())
        return f"{self.role}-{self.precision}{SUFFIXES[self.input]}{delegate}{sizes}{backend(self.format).suffix}"

    @property
    def path(self) -> str:
        """Path of the file, within the run's folder."""
        return f"artifacts/{self.name}"

    @property
    def program(self) -> str:
        """Path, within the folder of the run's steps, of the saved program that it is lowered from."""
        from edgedistill.backends import backend
        from edgedistill.recipe.precisions import is_integer, needs_program

        folder = f"program-{self.precision}" if needs_program(self.precision) else "programs"
        if not is_integer(self.precision):
            return f"{folder}/{self.role}-float.pt2"
        # Some converters fold the weights themselves, and fail on folded ones.
        return f"{folder}/{self.role}-{'unfolded' if backend(self.format).unfolded_weights else 'converted'}.pt2"


class Artifact(ArtifactSpec):
    """A file that was made: its spec, bytes, SHA-256, seconds of lowering, inputs and outputs, and versions of what made it."""

    left_out = ("sizes", "signature", "mixed")

    bytes: int
    sha256: str
    seconds: float
    signature: Signature | None = None
    mixed: list[str] | None = None
    """Layers with weights that compute in floating point although the precision is an integer one; None where there are none."""
    packages: dict[str, str] = Field({}, description="Versions of what made it.")


class NotLowered(Record):
    """A file that was asked for and could not be made."""

    name: str
    format: str
    precision: str
    reason: str = Field(description="What the format cannot hold, or how the converter failed.")


class Lowered(Record):
    """The artifacts of one format, made by one process, and the most memory that it took, in MiB."""

    left_out = ("error",)

    artifacts: list[Artifact]
    not_lowered: list[NotLowered] = Field([], description="Files that could not be made.")
    peak_rss_mb: float | None = Field(None, description="None where no process was needed.")
    error: str | None = Field(None, description="How a converter failed; the step is then done again by the next command.")
