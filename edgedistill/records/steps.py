"""What finished steps leave: what each was made of, and the results that other steps read."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from edgedistill.records.base import Record, Unavailable
from edgedistill.signature import Signature


class Declared(Record):
    """What a step is made of, by hash and version: it is done again when one of these changes."""

    inputs: str
    reads: dict[str, str] = Field(description="The content of each file or folder that it reads.")
    code: dict[str, str] = Field(description="The code of each module.")
    version: int
    packages: dict[str, str]
    outputs: list[str] = Field(description="What it writes outside of its own folder.")


class StepRecord(Record):
    """A finished step."""

    declared: Declared
    versions: dict[str, str] = Field(description="Versions of the packages that it was done with.")
    result: Any
    outputs: dict[str, str | None] = Field(description="The content of each file or folder that it wrote; null for none.")
    seconds: float


class StepFailed(Record):
    """The result of a step that failed: it is kept for readers, and tried again the next time."""

    error: str


class Epoch(Record):
    """An epoch of training."""

    model_config = ConfigDict(extra="allow")

    epoch: int
    stage: str
    loss: float
    losses: dict[str, float] = Field(description="Means, unweighted.")
    lr: float
    seconds: float


class Trained(Record):
    """A model that was trained, or taken as it is."""

    left_out = ("sha256", "parameters", "bytes", "signature", "batched")

    curve: list[Epoch]
    sha256: str | None = Field(None, description="Of its weights.")
    parameters: int | None = Field(None, description="How many it has; null where a file does not say.")
    bytes: int | None = Field(None, description="Of its parameters and buffers, or of its file.")
    signature: Signature | None = Field(None, description="Inputs and outputs of a student that comes trained.")
    batched: bool = Field(True, description="Whether it takes several samples at once.")


class Gap(Record):
    """The score of the student in floating point less that of a state of it, on `n` samples."""

    difference: float
    interval: tuple[float, float]
    n: int


class Distance(Record):
    """How far the outputs of a state are from the student's."""

    left_out = ("gap",)

    distance: float = Field(description="By the distance of the task.")
    flips: int | None = Field(description="Samples for which another decision is made; null without decisions.")
    gap: Gap | None = None


class LayerFacts(Record):
    """A quantized layer: what its weights cost, and how much of its signal they lose."""

    node: str = Field(description="Its node in the program.")
    layer: str = Field(description="Its name in the model.")
    kind: Literal["linear", "depthwise convolution", "convolution"]
    bytes: int = Field(description="What weights in float32 take more than in int8.")
    macs: int = Field(description="Multiply-accumulates of one sample.")
    sqnr_db: float | None = Field(description="Signal-to-noise ratio of its result before it is rounded; null where there is no noise.")


class LayerCost(LayerFacts):
    """The same with the outputs of the program that has this layer alone in floating point."""

    left_out = ("distance_before",)

    distance: float
    flips: int | None
    macs_share: float = Field(description="Of all layers.")
    distance_before: float | None = Field(None, description="The distance before the layer was left in floating point.")


class FilePrice(Record):
    """An int8 file, and what leaving the proposed layers in floating point would add."""

    left_out = ("added_bytes", "added_ms")

    name: str
    bytes: int
    p50_ms: float | Unavailable
    added_bytes: int | None = None
    added_ms: float | Unavailable | None = None


class Sensitivity(Record):
    """Which layers quantization costs most, and which are left in floating point."""

    n: int = Field(description="Samples that were scanned.")
    of: int
    int8: Distance | None = Field(description="All layers in int8; null where none is.")
    layers: list[LayerCost] = Field(description="By their distance, the costliest first.")
    chosen: list[LayerCost]
    applied: bool = Field(description="Whether the chosen ones were left in floating point.")
    result: Distance | None = Field(description="What that leaves.")
    stopped: Literal["gap", "share", "most", "all"] | None = Field(description="Why no further layer was chosen; null for a proposal.")
    files: list[FilePrice] = Field([], description="What each int8 file would take more.")


class Programs(Record):
    """The quantized state of a student, and the programs that were saved of it."""

    left_out = ("temperature",)

    sha256: str
    output_scale: dict[str, float] = Field(description="The size of a step of each quantized output.")
    batched: bool = Field(description="Whether its programs take several samples at once.")
    sensitivity: Sensitivity | None = None
    temperature: dict[str, float] | None = Field(None, description="What the outputs of student and state were divided by.")


class Variant(Record):
    """The program of a post-training precision."""

    sha256: str
    output_scale: dict[str, float] = Field({}, description="The size of a step of each quantized output.")
    weights: dict[str, int] = Field({}, description="How many weights were stored by which scheme.")
