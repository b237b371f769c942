"""The exported programs that converters start from: the float student, the quantized state in its two forms, and weights on grids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedistill.files import replacing
from edgedistill.recipe.inputs import DEFAULT, SUFFIXES
from edgedistill.recipe.precisions import is_integer, needs_program

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


def save_program(module: nn.Module, image_size: int, path: Path, *, any_batch: bool = False) -> None:
    """Export `module` at batch 1, float32 [1, 3, S, S], and save it; `any_batch`: for batches of any size, which converters don't take."""
    import torch

    example = (torch.zeros(2 if any_batch else 1, 3, image_size, image_size),)
    shapes = ({0: torch.export.Dim("batch", min=1, max=4096)},) if any_batch else None
    program = torch.export.export(module, example, dynamic_shapes=shapes)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        torch.export.save(program, temporary)
