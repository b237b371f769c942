"""Wraps any module, so that it takes tensors in the order of a signature and gives a flat tuple of named tensors."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass

import torch
from torch import Tensor, nn

from edgedistill.errors import UserError
from edgedistill.signature import Dimension, DType, Signature, TensorSpec
from edgedistill.tasks.modules import example

_ALONE = "output"
"""Name of an output that the module gives without one."""
_GROWN = 8
"""How much longer a dimension that varies is in the second run, which shows what varies with it."""


class Flat(nn.Module):
    """`module`, which takes tensors by position, with its outputs flat and in one order: dicts, tuples, lists and dataclasses are unpacked.

    One output is given as a tensor, several as a tuple of them.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.model = module

    def forward(self, *tensors: Tensor) -> Tensor | tuple[Tensor, ...]:
        """The outputs for the inputs in their order."""
        return _separate([value for _, value in named_outputs(self.model(*tensors))], tensors)


def flat(module: nn.Module, inputs: Sequence[TensorSpec]) -> Flat:
    """`module` in evaluation mode as a `Flat` that takes `inputs`."""
    return _flat(tuple(spec.name for spec in inputs))(module.eval())


@functools.cache
def _flat(inputs: tuple[str, ...]) -> type[Flat]:
    """`Flat` with names for its arguments: torch.export names a program's inputs by the signature of `forward`.

    The signature is that of a class, since one of an instance would go on calling the module that a copy was made of.
    """
    names = ("self", *inputs)

    def forward(self: Flat, *tensors: Tensor) -> Tensor | tuple[Tensor, ...]:
        return Flat.forward(self, *tensors)

    parameters = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names]
    forward.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return type("Flat", (Flat,), {"forward": forward, "__module__": __name__})


def flatten(
    module: nn.Module, inputs: Sequence[TensorSpec], *, label: str, sample: Sequence[Tensor] | None = None
) -> tuple[Flat, Signature]:
    """`module` in evaluation mode as a `Flat`, and its signature with the outputs that it gave for `sample`.

    sample: the tensors of `inputs` in their order; by default zeros. A dimension of an output that changes with one of the inputs' has its
    name where both are of one size, and else one of its own. label: what messages call the module. Raises UserError when the module fails,
    or gives something else than tensors.
    """
    made = flat(module, inputs)
    sample = tuple(sample) if sample is not None else example(inputs)
    given = zip(inputs, sample, strict=True)
    sizes = {size: tensor.shape[at] for spec, tensor in given for at, size in enumerate(spec.shape) if isinstance(size, str)}
    outputs = _run(module, inputs, sample, label)
    grown = outputs
    if sizes:
        grown = _run(module, inputs, example(inputs, sizes={name: size + _GROWN for name, size in sizes.items()}), label)
        if [name for name, _ in outputs] != [name for name, _ in grown]:
            raise UserError(f"{label} gives other outputs for inputs of other sizes, expected the same names")
    taken = {spec.name for spec in inputs}
    specs = []
    for (path, value), (_, other) in zip(outputs, grown, strict=True):
        name = _identifier(path, taken)
        taken.add(name)
        shape: list[Dimension] = []
        for at, (size, second) in enumerate(zip(value.shape, other.shape, strict=True)):
            same = [known for known, length in sizes.items() if (size, second) == (length, length + _GROWN)]
            shape.append(size if size == second else same[0] if same else f"{name}_{at}")
        specs.append(TensorSpec(name=name, dtype=_dtype(value, name, label), shape=tuple(shape)))
    return made, Signature.of(list(inputs), specs)


def named_outputs(value: object, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """The tensors in what a module gave, each with its path, such as `boxes.0`; fields that are None are left out.

    Raises UserError for what is neither a tensor nor made of tensors.
    """
    if isinstance(value, Tensor):
        yield path or _ALONE, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from named_outputs(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, (list, tuple)):
        names = getattr(value, "_fields", range(len(value)))
        for name, inner in zip(names, value, strict=True):
            whole = f"{path}.{name}" if path else str(name) if isinstance(name, str) else f"{_ALONE}.{name}"
            yield from named_outputs(inner, whole)
    elif is_dataclass(value):
        for field in fields(value):
            yield from named_outputs(getattr(value, field.name), f"{path}.{field.name}" if path else field.name)
    elif value is not None:
        raise UserError(f"found {type(value).__name__} as output {path or _ALONE}, expected a tensor, or tensors in a tuple, list or dict")


def _run(module: nn.Module, inputs: Sequence[TensorSpec], sample: Sequence[Tensor], label: str) -> list[tuple[str, Tensor]]:
    try:
        with torch.no_grad():
            answer = module(*sample)
    except Exception as error:
        # A module's code raises whatever it likes.
        given = ", ".join(map(str, inputs))
        raise UserError(f"{label} failed on {given} ({type(error).__name__}: {error}); are names, order, types and sizes right?") from error
    try:
        outputs = list(named_outputs(answer))
    except UserError as error:
        raise UserError(f"{label}: {error}") from error
    if not outputs:
        raise UserError(f"{label} gave no tensor, expected at least one")
    return outputs


def _separate(values: list[Tensor], inputs: Sequence[Tensor]) -> Tensor | tuple[Tensor, ...]:
    """A value that is an input, or stands twice, as a copy: files have a name for each output, and no two names for one tensor."""
    seen: list[Tensor] = list(inputs)
    for place, value in enumerate(values):
        if any(value is other for other in seen):
            values[place] = value.clone()
        seen.append(value)
    return values[0] if len(values) == 1 else tuple(values)


def _identifier(path: str, taken: set[str]) -> str:
    """`path` as a name that every format takes, and that no other tensor has."""
    name = re.sub(r"\W", "_", path, flags=re.ASCII)
    if not re.match(r"[A-Za-z_]", name):
        name = f"_{name}"
    while name in taken:
        name += "_out"
    return name


def _dtype(value: Tensor, name: str, label: str) -> DType:
    dtype = str(value.dtype).removeprefix("torch.")
    if dtype not in DType.__args__:  # type: ignore[attr-defined]
        raise UserError(f"{label}: found {dtype} as the type of output {name}, expected one of {', '.join(DType.__args__)}")  # type: ignore[attr-defined]
    return dtype  # type: ignore[return-value]
