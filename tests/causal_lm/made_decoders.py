"""Small decoders with random weights for tests."""

from typing import Any

import torch
import transformers

from edgedistill.tasks.causal_lm.decoder import Decoder

VOCABULARY, LENGTH = 300, 48
KINDS = ("llama", "qwen2", "qwen3", "smollm3", "gemma", "gpt2")


def model(kind: str = "llama", **facts: Any) -> Any:
    """A model with 4 heads, of which 2 have keys of their own, and weights that make its logits differ."""
    torch.manual_seed(0)
    given: dict[str, Any] = {"vocab_size": VOCABULARY, "bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    if kind == "gpt2":
        given |= {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": LENGTH, "scale_attn_by_inverse_layer_idx": True}
    else:
        given |= {
            "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
            "head_dim": 16, "max_position_embeddings": LENGTH,
        }  # fmt: skip
    made = transformers.AutoModelForCausalLM.from_config(transformers.CONFIG_MAPPING[kind](**(given | facts))).eval()
    with torch.no_grad():
        for weight in made.parameters():
            if weight.ndim == 2:
                weight.normal_(0, weight.shape[1] ** -0.5)
    return made


def decoder(kind: str = "llama", **facts: Any) -> Decoder:
    return Decoder(model(kind, **facts))


def tokens(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Random tokens, their positions, and their places, which are all wanted; int32 [1, count]."""
    generator, places = torch.Generator().manual_seed(seed), torch.arange(count, dtype=torch.int32)[None]
    return torch.randint(0, VOCABULARY, (1, count), generator=generator, dtype=torch.int32), places, places
