"""The files of the comparison with llama.cpp: .pte, .onnx, .tflite and GGUF of the same weights, and those of experiments."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import torch
from gguf_models import BY_ROW, LENGTH, SIZES, loaded, train
from gguf_writer import QUANTIZATIONS, quantize, write_gguf
from torch import Tensor

from edgedistill.export.lower import lower
from edgedistill.export.programs import load_signature, save_program
from edgedistill.quantize import grid
from edgedistill.records import ArtifactSpec

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

SPECS = tuple(
    ArtifactSpec(kind, precision)
    for kind, precision in (
        ("executorch", "fp32"), ("executorch", "int8-dynamic"), ("executorch", "int4-dynamic"),
        ("onnx", "fp32"), ("onnx", "int8-dynamic"), ("onnx", "int4-weights"),
        ("litert", "fp32"), ("litert", "int8-dynamic"), ("litert", "int4-dynamic"),
    )
)  # fmt: skip


def prepare(name: str, folder: Path) -> None:
    """Train the model `name`, and write it and its files into `folder`; what is there stays."""
    if not (folder / "hf/config.json").exists():
        train(SIZES[name], folder / "hf")
    model, tokenizer = loaded(folder)
    if not (folder / "f32.gguf").exists():
        write_gguf(model, tokenizer, folder / "f32.gguf")
    for kind, quantization in QUANTIZATIONS.items():
        if not (folder / f"{kind}.gguf").exists():
            quantize(folder / "f32.gguf", folder / f"{kind}.gguf", quantization)
    programs = _export(model, folder)
    if SIZES[name].seconds and not (folder / BY_ROW).exists():
        with int4_by_row():
            lower_here(on_grid(programs["fp32"], "int4-dynamic", folder / "rows"), "int4-dynamic", folder / BY_ROW)


def _export(model: LlamaForCausalLM, folder: Path) -> dict[str, Path]:
    """Write the kit's files as a run does it: one program for each precision, which is lowered to each format; returns the programs."""
    programs = _programs(model, folder)
    for kind in dict.fromkeys(spec.format for spec in SPECS):
        if missing := [spec for spec in SPECS if spec.format == kind and not (folder / spec.name).exists()]:
            lowered = lower(missing, folder, folder, folder / f"{kind}.log", {})
            for failed in lowered.not_lowered:
                print(f"{failed.name}: {failed.reason}", flush=True)
    return programs


def _programs(model: LlamaForCausalLM, folder: Path) -> dict[str, Path]:
    """The program of each precision in `folder`."""
    from edgedistill.tasks.causal_lm import cached, decoder

    source = folder / "programs/student-float.pt2"
    if not source.exists():
        made = cached.deployed(decoder.Decoder(model), LENGTH)
        signature = decoder.signature(LENGTH, model.config.vocab_size, LENGTH, cached.state(made))
        save_program(made, signature, source, sizes=signature.limits)
    precisions = dict.fromkeys(spec.precision for spec in SPECS if spec.precision != "fp32")
    return {"fp32": source} | {precision: on_grid(source, precision, folder / f"program-{precision}") for precision in precisions}


def on_grid(source: Path, precision: str, folder: Path) -> Path:
    from edgedistill.verify.rungs import load_converted

    path = folder / source.name
    if not path.exists():
        graph = load_converted(source)
        grid.put_on_grid(graph, precision)
        signature = load_signature(source)
        save_program(graph, signature, path, sizes=signature.limits)
    return path


@contextmanager
def int4_by_row() -> Iterator[None]:
    """Let int4 weights have one scale for each output channel, max |w| / 7, in place of one for each block of 32 input channels."""

    def by_row(weight: Tensor, block: int | None = None) -> grid.Steps:
        return grid._symmetric(weight, 7, None)

    with patch.object(grid, "int4_blocks", by_row):
        yield


def lower_here(program: Path, precision: str, path: Path) -> None:
    """The .pte of a program in this process, in which the grid may be another one."""
    from edgedistill.backends.executorch.lower import lower as lower_executorch

    lower_executorch(torch.export.load(program), load_signature(program), path, ArtifactSpec("executorch", precision), {})
