"""Recurrent layers, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.export import ExportedProgram


def written_out(program: ExportedProgram) -> ExportedProgram:
    """`program` with the steps of its recurrent layers written out, for converters that do not take the layers."""
    import torch
    from torch._decomp import get_decompositions

    aten = torch.ops.aten
    return program.run_decompositions(dict(get_decompositions([aten.gru.input, aten.lstm.input, aten.rnn_tanh.input, aten.rnn_relu.input])))


def projects(program: ExportedProgram) -> bool:
    """Whether an LSTM of `program` projects its state (`proj_size` in PyTorch)."""
    import torch

    def extra(weights: list, has_biases: bool, layers: int, _: float, __: bool, bidirectional: bool, *___: bool) -> bool:  # type: ignore[type-arg]
        return len(weights) != layers * (1 + bidirectional) * (4 if has_biases else 2)

    return any(extra(*node.args[2:]) for node in program.graph.nodes if node.target == torch.ops.aten.lstm.input)
