"""The manifest of a bundle: what an app is given, and how it is used."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field, JsonValue

from edgedistill.records.base import Record, Unavailable
from edgedistill.signature import MethodSignature, Signature

MANIFEST = "edgedistill/manifest/3"
MANIFEST_FILE = "manifest.json"
SIGNATURE_FILE = "manifest.sig"


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
    tolerance: dict[str, float] = Field(
        {}, description="By output, the largest difference from these values that another machine may have; `selfTest` judges by it."
    )


class Quantized(Record):
    """How the numbers of a tensor stand for others: value = scale * (number - zero_point)."""

    scale: float
    zero_point: int


class Entry(Record):
    """An artifact of the bundle."""

    left_out = ("unavailable", "sizes", "prompt_piece")

    name: str = Field(description="Its path within the bundle.")
    format: str
    precision: str
    delegate: str | None
    sizes: dict[str, int] | None = Field(
        None,
        description="Of dimensions that vary in the model and not in this file: further files of the same format, precision, input and "
        "delegate take other sizes. None where there is one file for all.",
    )
    bytes: int
    sha256: str
    input: str = Field(description="What it takes images as: float32-nchw, uint8-nhwc or image.")
    signature: MethodSignature = Field(description="Its inputs and outputs.")
    prompt_piece: int | None = Field(None, description="How many tokens of a prompt one call takes soonest; the whole prompt without it.")
    quantized: dict[str, Quantized] = Field(
        {}, description="Of inputs that take bytes, and of outputs that are multiples of an int8 step, by name."
    )
    minimum_runtime: dict[str, str] = Field(description="The oldest version of a runtime that can load it, by the runtime's name.")
    minimum_os: dict[str, str] = Field(description="The oldest operating systems, by system.")
    operators: dict[str, int] | Unavailable = Field(description="Number of each operator in the file.")
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
    temperature: dict[str, float] = Field({}, description="What the outputs are divided by inside the program, in float and in int8.")


class Preprocessing(Record):
    """What an app does before and after a program."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    inputs: dict[str, dict[str, JsonValue]] = Field({}, description="By the name of the input: how it is made of what a user has.")
    outputs: dict[str, dict[str, JsonValue]] = Field({}, description="By the name of the output: what is done with it.")
    manifest: dict[str, JsonValue] = Field({}, exclude=True, description="Further entries of the manifest itself.")
    files: dict[str, bytes] = Field({}, exclude=True, description="Further files of the bundle, by their path in it.")


class Licenses(Record):
    """Under which licences the parts of a bundle may be used, as SPDX identifiers or texts."""

    code: str
    data: str | Unavailable
    teacher: str | Unavailable


class Candidate(Record):
    """An artifact that an app may ship, and what speaks for and against it."""

    name: str
    reasons: list[str] = Field(description="A sentence each, with the figures.")


class Ship(Record):
    """Which artifact of a target to ship."""

    order: list[str] = Field(description="Names of the artifacts, the best first; glue code takes the first that it has a runtime for.")
    first: Candidate | Unavailable = Field(description="The one to ship, and why.")
    others: list[Candidate] = Field([], description="What to take where the first does not fit, in this order.")
    missing: list[str] = Field([], description="Artifacts of the target that can't be shipped: why, and what to do; a sentence each.")


class Manifest(Record):
    """What is in a bundle. Formats may add entries of their own, such as `minimal_build`."""

    model_config = ConfigDict(extra="allow")

    document: Literal["edgedistill/manifest/3"] = Field("edgedistill/manifest/3", alias="schema")
    name: str = Field(description="Of the recipe; packages of glue code are named after it.")
    task: str
    target: TargetFacts
    model: ModelFacts
    signature: Signature = Field(description="Inputs and outputs of the model; those of a file stand with it.")
    preprocessing: Preprocessing
    ship: Ship
    artifacts: list[Entry]
    licenses: Licenses
    files: dict[str, str] = Field({}, description="SHA-256 of every other file of the bundle, by its path in it.")
    versions: dict[str, str] = Field(description="Versions of what trained, quantized and lowered the model.")
