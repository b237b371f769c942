"""The cache of a language model in LiteRT: further inputs and outputs, and a method for each of some numbers of tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import GraphModule

from edgedistill.backends.base import NEXT
from edgedistill.export.state import as_inputs, module_of
from edgedistill.quantize.graph import operators, outputs_of
from edgedistill.signature import Signature

if TYPE_CHECKING:
    from litert_torch._convert.interface import Converter

SIZES = (1, 8, 32, 128)
"""Tokens that a call of a method takes, since a file has fixed shapes. An adapter gives longer inputs in pieces."""
_ATEN = torch.ops.aten
_AXIS = 2
"""The positions of a kept tensor, [1, K, length, D]."""


def methods(program: ExportedProgram, signature: Signature) -> Converter:
    """A converter of `program` with a method for each of `SIZES` up to the limit, `tokens_1` first; they share their weights.

    The size is that of the dimension that only inputs have. One that outputs have too, of places that are asked for, is 1.

    A method takes and gives named tensors. Each tensor of the state is an input, and what becomes of it an output, NAME_next. The program
    keeps keys and values by `index_copy_` at positions that follow each other: one operator writes them from the first position on, in
    place where a caller binds an input and its output to the same memory.

    Raises ValueError where something else writes the state, or where not one dimension of inputs alone varies.
    """
    import litert_torch

    module = _passing(program, signature)
    asked = {name for spec in signature.outputs for name in spec.dynamic}
    names = {name for spec in signature.inputs for name in spec.dynamic} - asked
    if len(names) != 1:
        raise ValueError(f"found the dimensions {', '.join(sorted(names)) or 'none'} of inputs alone, expected one that varies")
    (name,) = names
    given = [*signature.inputs, *signature.state]
    converter = None
    for size in SIZES:
        if size <= signature.limits[name]:
            specs = [spec.with_sizes({name: size, **dict.fromkeys(asked, 1)}) for spec in given]
            shown = {spec.name: torch.zeros(spec.fixed, dtype=getattr(torch, spec.dtype)) for spec in specs}
            add = litert_torch.signature if converter is None else converter.signature
            converter = add(f"{name}_{size}", module, sample_kwargs=shown)
    assert converter is not None
    return converter


def _passing(program: ExportedProgram, signature: Signature) -> GraphModule:
    """`program` as a module that takes its state and gives what becomes of it, by name."""
    graph = program.module(check_guards=False)
    assert isinstance(graph, GraphModule)
    kept = as_inputs(graph, [spec.name for spec in signature.state])
    written = {node.args[0]: node for node in operators(graph, (_ATEN.index_copy_.default,)) if node.args[1] == _AXIS}
    if set(written) != set(kept):
        raise ValueError(f"found {len(written)} tensors of the state that are written at their positions, expected {len(kept)}")
    for node in written.values():
        memory, _, positions, values = node.args
        node.target, node.args = _write, (memory, positions, values)
    for node in operators(graph, (_ATEN.index_select.default,)):
        # The converter would check the range of each index; a lookup is one operator.
        values, axis, places = node.args
        node.target, node.args = _looked_up, (values, axis, places)
    outputs = dict(zip((spec.name for spec in signature.outputs), outputs_of(graph), strict=True))
    after = {f"{spec.name}{NEXT}": written[node] for spec, node in zip(signature.state, kept, strict=True)}
    return module_of(graph, outputs | after)


def _looked_up(values: Tensor, axis: int, places: Tensor) -> Tensor:
    """`values.index_select(axis, places)` of [N, D], or of [1, N, D] with axis 1."""
    return nn.functional.embedding(places, values) if axis == 0 else nn.functional.embedding(places, values[0])[None]


def _write(memory: Tensor, positions: Tensor, values: Tensor) -> Tensor:
    """`memory` [1, K, length, D] with `values` [1, K, T, D] from the first of `positions` [T] on."""
    from litert_torch.generative.custom_ops.dynamic_update_slice import dynamic_update_slice

    zero = torch.zeros((), dtype=torch.int32)
    return dynamic_update_slice(memory, values, [zero, zero, positions[0].to(torch.int32), zero])  # type: ignore[no-any-return]
