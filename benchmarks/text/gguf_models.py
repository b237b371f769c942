"""The models of the comparison with llama.cpp: llamas that learn from package descriptions for some minutes, or not at all."""

from __future__ import annotations

import gzip
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

TEXTS = Path(__file__).parents[1] / "data/debian_sections.jsonl.gz"
LENGTH = 256
"""Positions of the cache."""
BY_ROW = "student-int4-rows.pte"
"""The .pte of int4-dynamic with one scale for each output channel, an experiment of this benchmark."""
_BATCH, _WINDOW, _WARM_UP = 8, 64, 20


@dataclass(frozen=True)
class Size:
    """A llama: layers, width, heads, heads of keys and values, width inside the feed-forward network, tokens, seconds of training."""

    layers: int
    width: int
    heads: int
    groups: int
    inner: int
    vocabulary: int
    seconds: float


# Rows are multiples of 256 numbers, without which llama.cpp has no Q4_K.
SIZES = {"4x256": Size(4, 256, 4, 2, 768, 2048, 180.0), "12x512": Size(12, 512, 8, 4, 1536, 8192, 0.0)}


def texts() -> list[str]:
    """Descriptions of Debian packages."""
    with gzip.open(TEXTS, "rt", encoding="utf-8") as file:
        return [json.loads(line)["text"] for line in file]


def loaded(folder: Path) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """The trained model and its tokenizer."""
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

    return LlamaForCausalLM.from_pretrained(folder / "hf").eval(), PreTrainedTokenizerFast.from_pretrained(folder / "hf")


def held_out(tokenizer: PreTrainedTokenizerFast, count: int) -> np.ndarray:
    """Texts that no model was trained on, one behind the other, int32 [count, LENGTH]."""
    stream = stream_of(tokenizer, texts()[-3000:])
    return stream[: count * LENGTH].astype(np.int32).reshape(count, LENGTH)


def stream_of(tokenizer: PreTrainedTokenizerFast, lines: list[str]) -> np.ndarray:
    encoded = tokenizer.backend_tokenizer.encode_batch(lines, add_special_tokens=False)
    return np.array([token for one in encoded for token in (*one.ids, tokenizer.eos_token_id)])


def train(size: Size, folder: Path) -> None:
    """Train a model of `size` with a tokenizer of its own, and write both as `folder`, as transformers does."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from edgedistill.tasks.causal_lm.chat import trained
    from edgedistill.tasks.causal_lm.recipe import TrainedBytes

    lines = texts()[:-3000]
    tokenizer = trained(TrainedBytes(vocabulary=size.vocabulary), lines).tokenizer
    stream = torch.from_numpy(stream_of(tokenizer, lines))
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=size.vocabulary, hidden_size=size.width, intermediate_size=size.inner, num_hidden_layers=size.layers,
        num_attention_heads=size.heads, num_key_value_heads=size.groups, max_position_embeddings=LENGTH, tie_word_embeddings=False,
        bos_token_id=None, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.0, weight_decay=0.01)
    begun, step, loss = time.monotonic(), 0, float("nan")
    while (gone := time.monotonic() - begun) < size.seconds:
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1.0, (step + 1) / _WARM_UP) * (1 - gone / size.seconds)
        starts = torch.randint(0, len(stream) - _WINDOW, (_BATCH, 1))
        rows = stream[starts + torch.arange(_WINDOW)]
        optimizer.zero_grad()
        answer: Any = model(input_ids=rows, labels=rows)
        answer.loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step, loss = step + 1, float(answer.loss.detach())
    print(f"trained {sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters, {step} steps, loss {loss:.2f}", flush=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
