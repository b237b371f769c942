"""The exported programs that converters start from: the float student, the quantized state in its two forms, and weights on grids."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edgedistill.files import read_json, replacing, write_json
from edgedistill.signature import Signature

if TYPE_CHECKING:
    from torch import nn


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
