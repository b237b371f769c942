"""The records that parts of the package give each other. They are JSON on the disk and in `--json`, and nowhere else.

Free of torch, and fast to import.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, computed_field, model_serializer

from edgedistill.files import write_text
from edgedistill.signature import Signature


class Record(BaseModel):
    """What every record can do. A field of `left_out` that is None is missing in JSON, where others are null."""

    model_config = ConfigDict(extra="ignore", serialize_by_alias=True, validate_by_name=True, validate_by_alias=True)

    left_out: ClassVar[tuple[str, ...]] = ()

    @model_serializer(mode="wrap")
    def _without_what_is_missing(self, write: SerializerFunctionWrapHandler):  # type: ignore[no-untyped-def]
        # Without a return type, the JSON Schema stays that of the fields.
        written = write(self)
        for name in self.left_out:
            if written.get(name, 0) is None:
                del written[name]
        return written

    @classmethod
    def read(cls, path: Path) -> Self:
        """The record in the JSON file `path`."""
        return cls.model_validate_json(path.read_text(encoding="utf-8"))

    def write(self, path: Path) -> None:
        """Write the record to `path` as JSON, whole or not at all."""
        write_text(path, self.model_dump_json(indent=2) + "\n")


class Unavailable(Record):
    """A value that could not be measured, and the reason: `{"value": null, "unavailable": why}` in JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    value: None = None
    unavailable: str


class ArtifactSpec(Record):
    """One file to make: a format, a precision, whose program it is, what it takes, and what computes a .pte.

    role: whose program, student or teacher. input: a kind of `recipe.inputs`. delegate: coreml or vulkan; None is XNNPACK.
    """

    model_config = ConfigDict(frozen=True)

    format: str
    precision: str
    role: str = "student"
    input: str = "float32-nchw"
    delegate: str | None = None

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
        return f"{self.role}-{self.precision}{SUFFIXES[self.input]}{delegate}{backend(self.format).suffix}"

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

    left_out = ("signature", "mixed")

    bytes: int
    sha256: str
    seconds: float
    signature: Signature | None = None
    mixed: list[str] | None = None
    """Layers with weights that compute in floating point although the precision is an integer one; None where there are none."""
    packages: dict[str, str] = {}


class Lowered(Record):
    """The artifacts of one format, made by one process, and the most memory that it took, in MiB."""

    artifacts: list[Artifact]
    peak_rss_mb: float
