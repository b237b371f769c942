"""Traces a module by its signature: the shapes and types of its inputs, and the dimensions that vary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch._dynamo.exc import UserError as CannotTrace
from torch.export import Dim, ExportedProgram

from edgedistill.errors import UserError
from edgedistill.signature import Signature, TensorSpec
from edgedistill.tasks.modules import example

_FEWEST, _MOST = 1, 4096


def trace(module: nn.Module, signature: Signature, *, any_batch: bool = False, sizes: Mapping[str, int] | None = None) -> ExportedProgram:
    """Export `module`, which takes the inputs of `signature` in order, as a program.

    any_batch: for batches of any size; every input then has the batch as its first dimension. sizes: of varying dimensions during
    tracing, by default their limits; the program accepts other sizes as well. Raises UserError where the module takes one size only of a
    dimension that varies.
    """
    share_sources()
    inputs = signature.inputs
    shown = example(inputs, batch=2 if any_batch else None, sizes={**signature.limits, **(sizes or {})})
    try:
        return torch.export.export(module, shown, dynamic_shapes=_varying(signature, any_batch=any_batch))
    except CannotTrace as error:
        if "specialized" in str(error) and any(spec.dynamic for spec in inputs):
            raise _fixed(module, inputs, shown) from error
        raise


def share_sources() -> None:
    """Let copies of a graph share the records of what its nodes were made from.

    Each of the hundred passes of a lowering copies such a record whole, and it grows with each: up to a quarter of the time. Nothing
    changes one.
    """
    from torch.fx.traceback import NodeSource

    NodeSource.__deepcopy__ = lambda self, memo: self  # type: ignore[attr-defined]


def _fixed(module: nn.Module, inputs: Sequence[TensorSpec], shown: Sequence[Tensor]) -> UserError:
    """What to do about a module that takes one size only."""
    given = zip(inputs, shown, strict=True)
    sizes = {size: tensor.shape[at] for spec, tensor in given for at, size in enumerate(spec.shape) if isinstance(size, str)}
    layer = next((name.removeprefix("model.") for name, layer in module.named_modules() if isinstance(layer, nn.RNNBase)), None)
    why = f", since its recurrent layer {layer} is traced step by step" if layer else ""
    fixed = ", ".join(str(spec.with_sizes(sizes)) for spec in inputs if spec.dynamic)
    return UserError(f"the module takes one size of {', '.join(sizes)} only{why}; give the input a size, for example {fixed}")


def _varying(signature: Signature, *, any_batch: bool) -> tuple[dict[int, Any] | None, ...] | None:
    """The varying dimensions, by index, for each input; None if there are none. A name has the same size everywhere."""
    specs = signature.inputs
    names = dict.fromkeys(name for spec in specs for name in spec.dynamic)
    dims = {name: Dim(name, min=_FEWEST, max=signature.limits.get(name, _MOST)) for name in names}
    shapes = [{place: dims[size] for place, size in enumerate(spec.shape) if isinstance(size, str)} for spec in specs]
    if any_batch:
        batch = Dim("batch", min=_FEWEST, max=_MOST)
        shapes = [named | {0: batch} for named in shapes]
    return tuple(named or None for named in shapes) if any(shapes) else None
