"""Queries, keys and values of a layer of attention, taken where linear layers give them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor, nn

from edgedistill.errors import UserError
from edgedistill.tasks.embedding.model import Embedder
from edgedistill.tasks.embedding.recipe import MASK

_LAYERS = {"queries": ("query", "q_lin"), "keys": ("key", "k_lin"), "values": ("value", "v_lin")}
"""What models call these linear layers: bert, roberta and electra, and distilbert."""


class Taps:
    """The signals of `inner`, taps of an embedder, with queries, keys and values [B, T, D] of named layers, and the mask [B, T].

    signals: such as `queries:0`, `values:last`, and `mask`. Raises UserError where the model has no such layer.
    """

    def __init__(self, module: Embedder, inner: Any, signals: Collection[str]) -> None:
        self._inner, self._masked, self._taken = inner, MASK in signals, dict[str, Tensor]()
        layers = {signal: layer_of(module.model, signal) for signal in sorted(signals) if signal != MASK}
        # All were found before one is hooked: a number that is wrong leaves the module as it was.
        self._handles = [layer.register_forward_hook(self._taker(signal)) for signal, layer in layers.items()]

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The signals of a batch."""
        self._taken.clear()
        mask = {MASK: inputs["attention_mask"]} if self._masked else {}
        return {**self._inner(inputs), **self._taken, **mask}

    def remove(self) -> None:
        """Leave the model as it was."""
        self._inner.remove()
        for handle in self._handles:
            handle.remove()

    def _taker(self, signal: str) -> Any:
        def take(_: nn.Module, __: Any, output: Tensor) -> None:
            self._taken[signal] = output

        return take


def layer_of(model: nn.Module, signal: str) -> nn.Linear:
    """The linear layer that gives a signal; UserError where the model has none."""
    part, _, place = signal.partition(":")
    names = _LAYERS[part]
    found = [layer for name, layer in model.named_modules() if name.rpartition(".")[2] in names and isinstance(layer, nn.Linear)]
    if not found:
        raise UserError(
            f"{type(model).__name__} has no linear layers named {' or '.join(names)}, expected them in a layer of attention: "
            "minilm compares models such as bert, roberta, electra and distilbert"
        )
    number = len(found) - 1 if place == "last" else int(place)
    if number >= len(found):
        raise UserError(f"{type(model).__name__} has no layer {number}, expected a number from 0 to {len(found) - 1}")
    return found[number]
