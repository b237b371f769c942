"""What is inside a model file, in the same shape for every format."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, JsonValue, TypeAdapter

from edgedistill.records.base import Record, Unavailable
from edgedistill.signature import Signature

Dimension = int | str | None
"""A number, the name of a dimension whose size varies, or None for one without a name."""


class InspectedPort(Record):
    """An input or output, as the file describes it."""

    left_out: ClassVar[tuple[str, ...]] = ("scale", "zero_point")

    name: str | Unavailable
    type: str | Unavailable
    shape: list[Dimension] | Unavailable = Field(description="A size that varies has its name or null.")
    scale: float | Unavailable | None = Field(None, description="Size of a step, where it is quantized.")
    zero_point: int | Unavailable | None = Field(None, description="The integer that stands for 0, where it is quantized.")


class InspectedLayer(Record):
    """An operator that computes something, the type and shape of its result, and what it costs."""

    name: str
    operator: str
    type: str | Unavailable = Field(description="Type that its result is kept as.")
    output_shape: list[Dimension] | Unavailable
    weight_bytes: int = Field(description="Constants that several layers use belong to the first.")
    macs: int | Unavailable = Field(description="Multiply-accumulates of one run.")


class StoredTensors(Record):
    """The constants of one type: their number and their bytes."""

    count: int
    bytes: int


class DelegatedPart(Record):
    """A part that the file gives to a delegate: the delegate's id, the bytes of the part, and its number of operators."""

    id: str
    bytes: int
    operators: int


class ModelFile(Record):
    """A file or package: its format, where it is, its size and its hash."""

    format: str
    path: str
    bytes: int
    sha256: str


class Content(Record):
    """What the reader of a format finds in a file."""

    version: dict[str, int | str | dict[str, int] | Unavailable] = Field(description="Versions of the format, by their names there.")
    producer: str | Unavailable = Field(description="What wrote the file.")
    inputs: list[InspectedPort]
    outputs: list[InspectedPort]
    operators: dict[str, int] = Field(description="Number of each.")
    weights: dict[str, StoredTensors] = Field(description="Everything stored, by type: weights, biases, and scales that are tensors.")
    activations: dict[str, int] = Field(description="Number of layers whose result is kept as this type.")
    layers: list[InspectedLayer]
    macs: int | Unavailable = Field(description="Multiply-accumulates of one run.")
    metadata: dict[str, JsonValue] = Field(description="What the producer noted.")

    @property
    def delegates(self) -> list[DelegatedPart]:
        """The parts that the file gives to delegates, for a format whose files can name some."""
        return TypeAdapter(list[DelegatedPart]).validate_python(self.metadata.get("delegates", []))


class Inspection(Content, ModelFile):
    """What `inspect` prints of a model file."""

    signature: Signature | Unavailable = Field(description="What other commands take the file for.")
    warnings: list[str]
