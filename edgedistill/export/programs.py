"""The exported programs that converters start from: the float student, the quantized state in its two forms, and weights on grids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedistill.files import read_json, replacing, write_json
from edgedistill.recipe.inputs import DEFAULT, SUFFIXES
from edgedistill.recipe.precisions import is_integer, needs_program
from edgedistill.signature import Signature

if TYPE_CHECKING:
    from torch import nn

FORMATS = {"executorch": ".pte", "coreml": ".mlpackage", "onnx": ".onnx", "ort": ".ort", "litert": ".tflite"}


@dataclass(frozen=True)
class ArtifactSpec:
    """One file to make: a format, a precision, whose program it is (student or teacher), what it takes, and what computes a .pte.

    delegate: coreml or vulkan; None is XNNPACK.
    """

    format: str
    precision: str
    role: str = "student"
    input: str = DEFAULT
    delegate: str | None = None

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> ArtifactSpec:
        """The spec in `record`: an artifact's record, or what a target says of one."""
        return cls(**{field.name: record[field.name] for field in fields(cls) if field.name in record})

    @property
    def name(self) -> str:
        """File name of the artifact."""
        delegate = f"-{self.delegate}" if self.delegate else ""
        return f"{self.role}-{self.precision}{SUFFIXES[self.input]}{delegate}{FORMATS[self.format]}"

    @property
    def program(self) -> str:
        """Path, within the run's folder, of the saved program that it is lowered from."""
        folder = f"program-{self.precision}" if needs_program(self.precision) else "programs"
        if not is_integer(self.precision):
            return f"{folder}/{self.role}-float.pt2"
        # LiteRT's converter folds the weights itself, and fails on folded ones.
        return f"{folder}/{self.role}-{'unfolded' if self.format == 'litert' else 'converted'}.pt2"


def save_program(
    module: nn.Module, signature: Signature, path: Path, *, any_batch: bool = False, sizes: Mapping[str, int] | None = None
) -> None:
    """Export `module`, save it as `path`, and its signature beside it.

    module: takes the inputs of `signature` in their order. any_batch: for batches of any size, which converters don't take; every input
    then has the batch as its first dimension. sizes: those that dimensions that vary have while the module is traced.
    """
    import torch

    from edgedistill.quantize.trace import trace

    program = trace(module, signature, any_batch=any_batch, sizes=sizes)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        torch.export.save(program, temporary)
    write_json(_beside(path), signature.model_dump(mode="json"))


def load_signature(path: Path) -> Signature:
    """The signature of the saved program `path`."""
    return Signature.model_validate(read_json(_beside(path)))


def _beside(path: Path) -> Path:
    return path.with_suffix(".signature.json")
