"""Decoders as they run on a device: keys and values of earlier tokens are kept in tensors of a fixed size."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from edgedistill.errors import UserError
from edgedistill.signature import TensorSpec
from edgedistill.tasks.causal_lm.decoder import Decoder

_HIDDEN = -30000.0
"""What is added to the score of a token that is not seen: exp of it is 0, and float16 holds it."""
_STATE = "state_"


def deployed(decoder: Decoder, length: int) -> nn.Module:
    """A copy of `decoder` for one text of up to `length` tokens that keeps its keys and values.

    It takes and gives what a decoder does, for one text. The positions of a call follow each other, and those before them were given since
    a text began at 0. So a program is called with the positions of a prompt, 0 to T - 1, at once or in pieces, and then with one token a
    call. `wanted` are places among the tokens of the call. What an earlier text left behind is not seen. Tied embeddings stay tied.
    """
    return _Deployed(decoder, length).eval().requires_grad_(False)


def state(module: nn.Module) -> tuple[TensorSpec, ...]:
    """The tensors that a deployed module keeps: of layer N the keys, `state_{2N}`, and the values, `state_{2N+1}`, [1, K, length, D]."""
    assert isinstance(module, _Deployed)
    return tuple(TensorSpec(name=name, shape=tuple(value.shape)) for name, value in module.cache.named_buffers())


class _Deployed(nn.Module):
    def __init__(self, decoder: Decoder, length: int) -> None:
        super().__init__()
        self.decoder = copy.deepcopy(decoder).cpu().float()
        self.cache = _Memory(self.decoder.model.config, length)
        _tabulate_rotations(self.decoder.model, length)
        write_linear(self.decoder.model)

    def forward(self, input_ids: Tensor, positions: Tensor, wanted: Tensor) -> Tensor:
        return self.decoder(input_ids, positions, wanted, Cache(self.cache, positions[0].long()))  # type: ignore[no-any-return]


class _Memory(nn.Module):
    """Keys and values of `length` positions for each layer of a model with the configuration `config`, zero at first."""

    def __init__(self, config: Any, length: int) -> None:
        super().__init__()
        self.length = length
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        for place in range(2 * config.num_hidden_layers):
            self.register_buffer(f"{_STATE}{place}", torch.zeros(1, heads, length, width))


class Cache:
    """What a call whose tokens stand at `positions`, int64 [T], sees of a memory."""

    def __init__(self, memory: _Memory, positions: Tensor) -> None:
        self.length = memory.length
        self._memory, self._positions = memory, positions
        hidden = torch.arange(self.length)[None] > positions[:, None]
        self._mask = hidden.float() * _HIDDEN

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float | None) -> Tensor:
        """Keep `key` and `value` [1, K, T, D], and answer `query` [1, H, T, D] by what is kept up to each token's position.

        The H / K heads that share keys stand one behind the other as further queries, so that no key is copied.
        """
        keys, values = (self._memory.get_buffer(f"{_STATE}{2 * layer + place}") for place in range(2))
        keys, values = keys.index_copy_(2, self._positions, key), values.index_copy_(2, self._positions, value)
        heads, shared = query.shape[1], query.shape[1] // key.shape[1]
        mask = self._mask.repeat(shared, 1) if shared > 1 else self._mask
        query = query.reshape(1, heads // shared, -1, query.shape[3])
        seen = nn.functional.scaled_dot_product_attention(query, keys, values, mask[None, None], scale=scaling)
        return seen.reshape(1, heads, -1, seen.shape[3])


class _Rotations(nn.Module):
    """Cosines and sines of rotary embeddings (Su et al. 2021, arXiv 2104.09864) by position, from tables.

    A runtime's own cosine of a large angle has fewer digits, and computes it for each token anew.
    """

    def __init__(self, rotary: nn.Module, length: int, width: int) -> None:
        super().__init__()
        with torch.no_grad():
            for name, table in zip(("cosines", "sines"), rotary(torch.zeros(1, 1, width), torch.arange(length)[None]), strict=True):
                self.register_buffer(name, table[0].float().contiguous())

    def forward(self, hidden: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        # Not by `embedding`: those of large tables are rounded to 8 bits.
        cosines, sines = (self.get_buffer(name).index_select(0, position_ids[0])[None] for name in ("cosines", "sines"))
        return cosines, sines


def _tabulate_rotations(model: nn.Module, length: int) -> None:
    config: Any = model.config
    for name, module in list(model.named_modules()):
        if type(module).__name__.endswith("RotaryEmbedding"):
            if getattr(module, "rope_type", "default") == "dynamic":
                raise UserError(
                    f"{type(model).__name__} has rotary embeddings that change with the length of a text; take rope_type yarn or linear"
                )
            model.set_submodule(name, _Rotations(module, length, config.hidden_size))


def write_linear(model: nn.Module) -> None:
    """Put linear layers in the place of transformers' Conv1D, which has its weights transposed and which no precision knows; in place."""
    from transformers.pytorch_utils import Conv1D

    for name, module in list(model.named_modules()):
        if isinstance(module, Conv1D):
            layer = nn.Linear(*module.weight.shape)
            layer.weight = nn.Parameter(module.weight.detach().t().contiguous())
            layer.bias = nn.Parameter(module.bias.detach())
            model.set_submodule(name, layer)
