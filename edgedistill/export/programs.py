"""The exported programs that converters start from: the float student, the quantized state in its two forms, and weights on grids."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edgedistill.files import read_json, reading, replacing, write_json
from edgedistill.signature import Signature

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.export import ExportedProgram
    from torch.fx import GraphModule

_OPERATORS = ".operators.json"


def save_program(
    module: nn.Module, signature: Signature, path: Path, *, any_batch: bool = False, sizes: Mapping[str, int] | None = None
) -> None:
    """Export `module` in its canonical form, save it as `path`, and its signature beside it.

    module: takes the inputs of `signature` in their order. any_batch: for batches of any size, which converters don't take; every input
    then has the batch as its first dimension. sizes: those that dimensions that vary have while the module is traced.
    """
    import torch

    from edgedistill.quantize.canonical import canonical
    from edgedistill.quantize.trace import trace

    program = trace(module, signature, any_batch=any_batch, sizes=sizes)
    graph = program.module(check_guards=False)
    if canonical(graph):
        program = trace(graph, signature, any_batch=any_batch, sizes=sizes)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Into memory first: on a full disk torch's own writer ends the process.
    content = io.BytesIO()
    torch.export.save(program, content)
    with replacing(path) as temporary:
        temporary.write_bytes(content.getbuffer())
    write_json(_beside(path), signature.model_dump(mode="json"))
    write_json(path.with_suffix(_OPERATORS), _operators(program))


def load_signature(path: Path) -> Signature:
    """The signature of the saved program `path`."""
    with reading(_beside(path)):
        return Signature.model_validate(read_json(_beside(path)))


def load_operators(path: Path) -> dict[str, str]:
    """The operators of the saved program `path`, each with the first layer that is one."""
    return read_json(path.with_suffix(_OPERATORS))


def _operators(program: ExportedProgram) -> dict[str, str]:
    from edgedistill.quantize.graph import layer_of, operator_of

    layers: dict[str, str] = {}
    for node in program.graph.nodes:
        if node.op == "call_function":
            layers.setdefault(operator_of(node), layer_of(node))
    return layers


def rewritten(program: ExportedProgram, *rules: Callable[[GraphModule], int]) -> ExportedProgram:
    """`program` after `rules`, each of which changes a graph in place and returns how many changes it made."""
    graph = program.module(check_guards=False)
    if not sum(rule(graph) for rule in rules):
        return program
    graph.recompile()
    return exported_again(graph, program)


def of_sizes(program: ExportedProgram, signature: Signature, sizes: Mapping[str, int]) -> ExportedProgram:
    """`program`, which has `signature`, for the one size that each dimension of `sizes` has."""
    from edgedistill.quantize.trace import trace

    return trace(program.module(check_guards=False), signature.with_sizes(dict(sizes)))


def exported_again(graph: nn.Module, program: ExportedProgram, *more: Tensor) -> ExportedProgram:
    """`graph`, which was made from `program`, as a program whose inputs have the same dimensions that vary.

    more: examples of further inputs, none of whose dimensions does.
    """
    import torch

    nodes = {node.name: node for node in program.graph.nodes}
    dims: dict[str, torch.export.Dim] = {}
    shapes: list[dict[int, torch.export.Dim]] = []
    for name in program.graph_signature.user_inputs:
        varying = {at: size.node.expr for at, size in enumerate(nodes[name].meta["val"].shape) if isinstance(size, torch.SymInt)}
        for symbol in varying.values():
            sizes = program.range_constraints[symbol]
            dims.setdefault(str(symbol), torch.export.Dim(str(symbol), min=int(sizes.lower), max=int(sizes.upper)))
        shapes.append({at: dims[str(symbol)] for at, symbol in varying.items()})
    shown = (*program.example_inputs[0], *more)
    return torch.export.export(graph, shown, dynamic_shapes=(*shapes, *({} for _ in more)) if dims else None)


def _beside(path: Path) -> Path:
    return path.with_suffix(".signature.json")
