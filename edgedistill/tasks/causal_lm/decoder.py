"""Decoders of Hugging Face as modules of tokens and their positions, in a form that every runtime takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from edgedistill.errors import UserError
from edgedistill.signature import Signature, TensorSpec

if TYPE_CHECKING:
    from edgedistill.tasks.causal_lm.cached import Cache

ATTENTION = "edgedistill"
"""Name of `attend` among the attention functions of transformers."""
_CLOSE = 1e-3
_CHECKED = 16
"""How many tokens `check` compares."""


class Decoder(nn.Module):
    """A causal language model of transformers. It takes `input_ids` and `positions`, int32 [B, T], and `wanted`, int32 [B, W].

    It gives the logits of the wanted tokens, float32 [B, W, V]: `wanted` are places in a row. The head of a large vocabulary is a large
    part of a model, and of most tokens nobody needs logits.

    Each token sees itself and the tokens before it in its row, whatever their positions are. Rows that are filled up behind need no mask.
    transformers' own masks depend on the data, which cannot be exported, so that `attend` replaces its attention.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        _register()
        model.set_attn_implementation(ATTENTION)  # type: ignore[operator]
        self.model = model
        self.train(model.training)

    def forward(self, input_ids: Tensor, positions: Tensor, wanted: Tensor, cache: Cache | None = None) -> Tensor:
        """The logits of a batch. cache: keys and values of earlier tokens, of one text; see `cached`."""

        def choose(_: nn.Module, given: tuple[Tensor]) -> tuple[Tensor]:
            (hidden,) = given
            # Of one text runtimes copy whole rows, and of several single numbers.
            return (at(hidden, wanted) if cache is None else hidden.index_select(1, wanted[0].long()),)

        # transformers' own `logits_to_keep` takes the same places of all rows.
        hook = self.model.get_output_embeddings().register_forward_pre_hook(choose)  # type: ignore[operator]
        try:
            answer = self.model(input_ids=input_ids.long(), position_ids=positions.long(), use_cache=False, static_cache=cache)
        finally:
            hook.remove()
        return answer.logits.float()  # type: ignore[no-any-return]


def at(values: Tensor, wanted: Tensor) -> Tensor:
    """`values` [B, T, D] at the places `wanted`, int [B, W], of each row: [B, W, D]."""
    return values.gather(1, wanted.long()[..., None].expand(-1, -1, values.shape[-1]))


def attend(
    layer: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, *, scaling: float | None = None,
    dropout: float = 0.0, static_cache: Cache | None = None, sliding_window: int | None = None, softcap: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    """Causal attention as transformers calls it: query [B, H, T, D], key and value [B, K, T, D], K a divisor of H; gives [B, T, H, D].

    Raises UserError for what cannot be computed so: scores that are bounded, or a window that is shorter than the text.
    """
    length = key.shape[2] if static_cache is None else static_cache.length
    if softcap is not None:
        raise UserError(
            f"{type(layer).__name__} bounds its scores (softcap {softcap:g}), which is not supported; take another architecture"
        )
    if sliding_window is not None and sliding_window < length:
        raise UserError(
            f"{type(layer).__name__} sees {sliding_window} tokens, and a text may have {length}; make data.length at most {sliding_window}"
        )
    if static_cache is not None:
        return static_cache.attend(layer.layer_idx, query, key, value, scaling).transpose(1, 2), None
    shared = key.shape[1] != query.shape[1]
    seen = nn.functional.scaled_dot_product_attention(
        query, key, value, dropout_p=dropout, is_causal=True, scale=scaling, enable_gqa=shared
    )  # fmt: skip
    return seen.transpose(1, 2), None


def _register() -> None:
    from transformers import AttentionInterface

    AttentionInterface.register(ATTENTION, attend)


def signature(length: int, vocabulary: int, wanted: int, cache: tuple[TensorSpec, ...] = ()) -> Signature:
    """What a decoder takes and gives for one text of up to `length` tokens, of which up to `wanted` are wanted.

    vocabulary: logits of a token. cache: see `cached.state`. Some runtimes plan memory for the most logits: `wanted` keeps it small.
    """
    inputs = [
        TensorSpec(name="input_ids", dtype="int32", shape=(1, "tokens"), meaning="tokens", range=(0, vocabulary - 1)),
        TensorSpec(name="positions", dtype="int32", shape=(1, "tokens"), range=(0, length - 1)),
        TensorSpec(name="wanted", dtype="int32", shape=(1, "wanted"), range=(0, length - 1)),
    ]
    outputs = [TensorSpec(name="logits", shape=(1, "wanted", vocabulary), meaning="logits")]
    return Signature.of(inputs, outputs, state=cache, limits={"tokens": length, "wanted": wanted})


def check(decoder: Decoder, label: str, vocabulary: int, length: int) -> None:
    """Raise UserError unless the model takes tokens below `vocabulary` in texts of `length`, and gives what transformers' own forward does.

    A window of attention that is shorter than `length` is refused as well, since texts are compared up to 16 tokens only.
    """
    config: Any = decoder.model.config
    if config.vocab_size < vocabulary:
        raise UserError(
            f"{label} knows {config.vocab_size:,} tokens, and the tokenizer has {vocabulary:,}: take the tokenizer of the model"
        )
    positions = getattr(config, "max_position_embeddings", None)
    if positions is not None and positions < length:
        raise UserError(f"{label} takes {positions} tokens, and data.length is {length}: make it at most {positions}")
    for window in {getattr(layer, "sliding_window", None) for layer in decoder.model.modules()}:
        if window is not None and window < length:
            raise UserError(f"{label} has layers that see {window} tokens only, and data.length is {length}: make it at most {window}")
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, vocabulary, (2, min(length, _CHECKED)), generator=generator, dtype=torch.int32)
    places = torch.arange(tokens.shape[1], dtype=torch.int32).expand_as(tokens)
    device = next(decoder.parameters()).device
    trains = decoder.training
    decoder.eval()
    try:
        with torch.no_grad():
            tokens, places = tokens.to(device), places.to(device)
            ours, theirs = decoder(tokens, places, places), _own(decoder.model, tokens)
    finally:
        decoder.train(trains)
    error, largest = float((ours - theirs).abs().max()), float(theirs.abs().max())
    if not error <= _CLOSE * max(largest, _CLOSE):
        raise UserError(
            f"{label} ({type(decoder.model).__name__}) gives other logits with plain causal attention than by transformers (they differ by "
            f"{error:.2g}): this architecture is not supported; take one such as llama, qwen2, qwen3, smollm3, gemma or gpt2"
        )


def divide(decoder: nn.Module, temperature: float) -> bool:
    """Divide the logits of a decoder by `temperature`, in its head; False, without a change, where that is no linear layer.

    A head that shares its weights with the embeddings gets its own first, since embeddings have to stay as they are.
    """
    from edgedistill.tasks.classification.temperature_scaling import divide_layer

    assert isinstance(decoder, Decoder)
    model: Any = decoder.model
    head, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    if isinstance(head, nn.Linear) and head.weight is embeddings.weight:
        head.weight = nn.Parameter(head.weight.detach().clone(), requires_grad=head.weight.requires_grad)
        model.config.tie_word_embeddings = False
    return divide_layer(head, temperature)


def _own(model: Any, tokens: Tensor) -> Tensor:
    """The logits by the attention of transformers."""
    model.set_attn_implementation("eager")
    try:
        return model(input_ids=tokens.long(), use_cache=False).logits.float()  # type: ignore[no-any-return]
    finally:
        model.set_attn_implementation(ATTENTION)
