"""Modules by the names of a signature: named inputs in, named outputs and features out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgedistill import processes
from edgedistill.errors import UserError
from edgedistill.signature import MethodSignature, Signature, TensorSpec
from edgedistill.tasks.data import Dataset, of_one_size, sizes_of
from edgedistill.tasks.loading import Loader, Request

BATCH = 64
"""How many samples a module that takes several is given at once."""
_TRACED = 32
"""Size of a dimension that varies, where none is given."""


def named(outputs: Any, method: MethodSignature) -> dict[str, Tensor]:
    """What a module gave, by the names of the signature: a tensor, a tuple in its order, or a dict by its names.

    Raises UserError where it is none of these.
    """
    names = [spec.name for spec in method.outputs]
    if isinstance(outputs, Tensor):
        outputs = (outputs,)
    if isinstance(outputs, Mapping):
        if missing := [name for name in names if name not in outputs]:
            raise UserError(f"the model gives {', '.join(map(str, outputs)) or 'nothing'}, expected {', '.join(missing)} too")
        return {name: outputs[name] for name in names}
    if not isinstance(outputs, (tuple, list)) or len(outputs) != len(names):
        found = f"{len(outputs)} outputs" if isinstance(outputs, (tuple, list)) else type(outputs).__name__
        raise UserError(f"the model gives {found}, expected {', '.join(names)}")
    return dict(zip(names, outputs, strict=True))


def forward(module: nn.Module, inputs: Mapping[str, Tensor], method: MethodSignature) -> dict[str, Tensor]:
    """The outputs of `module` by name; `inputs` are given by position, in the order of the signature."""
    return named(module(*(inputs[spec.name] for spec in method.inputs)), method)


def predict(module: nn.Module, batches: Iterable[Mapping[str, Tensor]], method: MethodSignature) -> dict[str, np.ndarray]:
    """Outputs [N, ...] by name of all `batches` together, computed where the module is."""
    parameter = next(module.parameters(), None)
    device = None if parameter is None else parameter.device
    parts: list[dict[str, Tensor]] = []
    with torch.no_grad():
        for inputs in batches:
            parts.append(forward(module, {name: value.to(device) for name, value in inputs.items()}, method))
    return {spec.name: _joined([part[spec.name] for part in parts], spec) for spec in method.outputs}


def _joined(parts: list[Tensor], spec: TensorSpec) -> np.ndarray:
    """One array [N, ...]; what has no batch in front is one sample a part."""
    return (torch.cat(parts) if spec.batched else torch.stack(parts)).cpu().numpy()


def predict_samples(
    module: nn.Module, data: Dataset, indices: np.ndarray, method: MethodSignature, size: int = BATCH
) -> dict[str, np.ndarray]:
    """Outputs [N, ...] by name of the samples `indices` as they are, `size` at a time; those of one size together."""
    groups = of_one_size(sizes_of(data, method, indices))
    if not groups:
        return predict(module, batches(data, indices, size), method)
    order = np.concatenate([places for _, places in groups])
    parts = [predict(module, batches(data, indices[places], size), method) for _, places in groups]
    back = np.argsort(order)
    return {spec.name: np.concatenate([part[spec.name] for part in parts])[back] for spec in method.outputs}


def batches(data: Dataset, indices: np.ndarray, size: int = BATCH) -> Iterator[Mapping[str, Tensor]]:
    """The inputs of the samples `indices` as they are, `size` at a time."""
    requests = [Request(indices[start : start + size]) for start in range(0, len(indices), size)]
    for batch in Loader(data).batches(requests):
        yield batch.inputs


def batches_of(arrays: Mapping[str, np.ndarray], size: int = BATCH) -> Iterator[Mapping[str, Tensor]]:
    """The same of arrays [N, ...] by the names of the inputs."""
    count = len(next(iter(arrays.values())))
    for start in range(0, count, size):
        # Copied, since an array may be a read-only map of a file.
        yield {name: torch.from_numpy(np.array(array[start : start + size])) for name, array in arrays.items()}


def in_order(batches: Iterable[Mapping[str, Tensor]], method: MethodSignature) -> Iterator[tuple[Tensor, ...]]:
    """The inputs of each batch as a tuple, in the order of the signature."""
    for inputs in batches:
        yield tuple(inputs[spec.name] for spec in method.inputs)


def example(specs: Sequence[TensorSpec], *, batch: int | None = None, sizes: Mapping[str, int] | None = None) -> tuple[Tensor, ...]:
    """Zeros of the shapes and types of `specs`. batch: replaces the first size of each. sizes: of the dimensions that vary."""

    def shape(spec: TensorSpec) -> list[int]:
        dimensions = [(sizes or {}).get(size, _TRACED) if isinstance(size, str) else size for size in spec.shape]
        return dimensions if batch is None else [batch, *dimensions[1:]]

    return tuple(torch.zeros(shape(spec), dtype=getattr(torch, spec.dtype)) for spec in specs)


def takes_several(module: nn.Module, method: MethodSignature) -> bool:
    """Whether `module` gives two answers for two samples at once. One with view(1, 10) does not, though it is right for one sample."""
    if not all(spec.batched for spec in (*method.inputs, *method.outputs)):
        return False
    try:
        with torch.no_grad():
            given = named(module(*example(method.inputs, batch=2)), method)
    except Exception:
        # The code of a model raises anything.
        return False
    return all(value.ndim > 0 and len(value) == 2 for value in given.values())


class ModuleTaps:
    """The outputs of `module`, and `features:NAME`, what the submodule NAME of `inside` gives, which is `module` or a part of it."""

    def __init__(self, module: nn.Module, signature: Signature, signals: Collection[str], *, inside: nn.Module) -> None:
        self.module, self.method = module, signature.forward
        self._taken: dict[str, Tensor] = {}
        self._handles: list[Any] = []
        outputs = {spec.name for spec in self.method.outputs}
        layers = {}
        for signal in sorted(set(signals) - outputs):
            kind, _, name = signal.partition(":")
            if kind != "features" or not name:
                raise UserError(f"found no signal '{signal}', expected {', '.join(sorted(outputs))} or features:MODULE")
            layers[signal] = submodule(inside, name)
        # All were found before one is hooked: a name that is wrong leaves the module as it was.
        self._handles = [layer.register_forward_hook(self._taker(signal)) for signal, layer in layers.items()]

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The outputs and the wanted features of a batch."""
        self._taken.clear()
        return {**forward(self.module, inputs, self.method), **self._taken}

    def remove(self) -> None:
        """Leave the module as it was."""
        for handle in self._handles:
            handle.remove()

    def _taker(self, signal: str) -> Any:
        def take(_: nn.Module, __: Any, output: Any) -> None:
            if not isinstance(output, Tensor):
                raise UserError(f"{signal} gives {type(output).__name__}, expected a tensor; name another module")
            self._taken[signal] = output

        return take


def submodule(module: nn.Module, name: str) -> nn.Module:
    """The submodule of that name; UserError with the nearest names where there is none."""
    modules = dict(module.named_modules())
    if name not in modules:
        import difflib

        near = difflib.get_close_matches(name, modules, n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise UserError(f"{type(module).__name__} has no module '{name}'{hint}")
    return modules[name]


class ModuleTeacher:
    """A PyTorch module that teaches by `signals`, through the taps of its task."""

    def __init__(self, taps: Any, module: nn.Module, signals: Collection[str]) -> None:
        self.device, self.signals = processes.device(), sorted(signals)
        self.taps = taps
        module.eval().to(self.device)

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The signals of a batch, on the device of the module."""
        with torch.no_grad():
            signals = self.taps({name: value.to(self.device) for name, value in inputs.items()})
        return {name: signals[name].float() for name in self.signals}
