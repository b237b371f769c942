"""The manifest of a bundle: what an app is given, and how it is used."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field, JsonValue

from edgedistill.records.base import Record
from edgedistill.signature import MethodSignature, Signature

MANIFEST = "edgedistill/manifest/2"


class File(Record):
    """A file of the bundle."""

    path: str = Field(description="Within the bundle.")
    sha256: str


class Golden(Record):
    """Samples as a file takes them, and what it gave for them: NAME.npy [count, ...] of each input and output, by name."""

    left_out = ("outputs",)

    count: int = Field(description="Number of samples.")
    inputs: dict[str, File]
    outputs: dict[str, File] | None = Field(None, description="None where nothing on the exporting machine executes the file.")


class Entry(Record):
    """An artifact of the bundle."""

    left_out = ("unavailable",)

    name: str = Field(description="Its path within the bundle.")
    format: str
    precision: str
    delegate: str | None
    bytes: int
    sha256: str
    input: str = Field(description="What it takes images as: float32-nchw, uint8-nhwc or image.")
    signature: MethodSignature = Field(description="Its inputs and outputs.")
    executed_by: str
    ok: bool | None
    unavailable: str | None = Field(None, description="Why nothing here executes it.")
    runtime: dict[str, str] = Field(description="Versions of what executed it.")
    packages: dict[str, str] = Field(description="Versions of what made it.")
    golden: Golden


class TargetFacts(Record):
    """Whom the bundle is for."""

    name: str
    description: str
    minimum_os: str


class ModelFacts(Record):
    """The model, and the quantized state that all int8 artifacts carry."""

    name: str
    state_sha256: str
    output_scale: dict[str, float] = Field(description="The size of an int8 step of each quantized output.")


class Preprocessing(Record):
    """What an app does before and after a program."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    inputs: dict[str, dict[str, JsonValue]] = Field({}, description="By the name of the input: how it is made of what a user has.")
    outputs: dict[str, dict[str, JsonValue]] = Field({}, description="By the name of the output: what is done with it.")
    manifest: dict[str, JsonValue] = Field({}, exclude=True, description="Further entries of the manifest itself.")


class Manifest(Record):
    """What is in a bundle. Formats may add entries of their own, such as `minimal_build`."""

    model_config = ConfigDict(extra="allow")

    document: Literal["edgedistill/manifest/2"] = Field("edgedistill/manifest/2", alias="schema")
    task: str
    target: TargetFacts
    model: ModelFacts
    signature: Signature = Field(description="Inputs and outputs of the model; those of a file stand with it.")
    preprocessing: Preprocessing
    artifacts: list[Entry]
    files: dict[str, str] = Field({}, description="SHA-256 of every other file of the bundle, by its path in it.")
    versions: dict[str, str] = Field(description="Versions of what trained, quantized and lowered the model.")
