"""Activations that int8 runtimes fuse, in the place of those that they do not."""

from collections import Counter

from torch import nn

_RELUS = {"relu": nn.ReLU, "relu6": nn.ReLU6}
_CURVED = {"Hardswish", "HardSwish", "HardswishMe", "SiLU", "Swish", "GELU", "GELUTanh", "QuickGELU", "Mish", "HardMish"}
_GATES = {"Hardsigmoid", "HardSigmoid"}


def unfused(model: nn.Module) -> dict[str, int]:
    """How often `model` has each activation that int8 runtimes leave out of their delegate or compute in float, by name."""
    names = Counter(type(module).__name__ for module in model.modules())
    return {name: count for name, count in sorted(names.items()) if name in _CURVED | _GATES}


def replace_activations(model: nn.Module, activation: str) -> None:
    """Put `activation` (relu or relu6) in the place of curved ones, and Sigmoid in that of Hardsigmoid gates, in place.

    Weights that were trained with the others need training again. Howard et al. 2019 (arXiv 1905.02244) made the hard forms for
    floating point; LiteRT's XNNPACK takes no int8 Hardswish, so that a network falls apart into partitions (see docs/recipes.md).
    """
    for name, module in list(model.named_modules()):
        kind = type(module).__name__
        if kind in _CURVED:
            model.set_submodule(name, _RELUS[activation]())
        elif kind in _GATES:
            model.set_submodule(name, nn.Sigmoid())
