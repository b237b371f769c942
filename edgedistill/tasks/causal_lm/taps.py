"""What a decoder and its layers give, at the places that are wanted."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from torch import Tensor, nn

from edgedistill.signature import Signature
from edgedistill.tasks.causal_lm.decoder import Decoder, at
from edgedistill.tasks.modules import ModuleTaps


class WantedTaps(ModuleTaps):
    """The logits of a decoder, and `features:LAYER`, what a module of its model gives, [B, W, D]."""

    def __init__(self, module: nn.Module, signature: Signature, signals: Collection[str]) -> None:
        # A program has no modules of the model; it tells its outputs only.
        super().__init__(module, signature, signals, inside=module.model if isinstance(module, Decoder) else module)

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The signals of a batch."""
        given = super().__call__(inputs)
        tokens = inputs["input_ids"].shape
        # Layers give a row for each token, and the head one for each that is wanted.
        return {name: at(value, inputs["wanted"]) if value.shape[:2] == tokens else value for name, value in given.items()}
