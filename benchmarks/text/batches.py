"""What batches would give: the time of a step of decoding for several texts at once, by the module in PyTorch. Files take one text.

    OMP_NUM_THREADS=1 python benchmarks/text/batches.py [--model 4x256] [--behind 192] [--rounds 7]

Weights are random, since only time is measured. The sizes of batches take turns, forwards and backwards. Printed is processor time.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import torch
from gguf_models import LENGTH, SIZES, Size

BATCHES = (1, 2, 4, 8, 16)
STEPS = 16
"""Steps of a turn."""


def model_of(size: Size) -> Any:
    """A llama with random weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=size.vocabulary, hidden_size=size.width, intermediate_size=size.inner, num_hidden_layers=size.layers,
        num_attention_heads=size.heads, num_key_value_heads=size.groups, max_position_embeddings=LENGTH, tie_word_embeddings=False,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def step_s(model: Any, batch: int, behind: int) -> float:
    """Seconds of processor time of a step for `batch` texts, each behind as many tokens."""
    from transformers import DynamicCache

    cache = DynamicCache(config=model.config)
    model(input_ids=torch.zeros(batch, behind, dtype=torch.int64), past_key_values=cache, logits_to_keep=1)
    token = torch.zeros(batch, 1, dtype=torch.int64)
    begun = time.process_time()
    for _ in range(STEPS):
        model(input_ids=token, past_key_values=cache)
    return (time.process_time() - begun) / STEPS


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=list(SIZES), default="4x256")
    parser.add_argument("--behind", type=int, default=192)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    torch.set_num_threads(1)
    model = model_of(SIZES[given.model])
    taken: dict[int, list[float]] = {batch: [] for batch in BATCHES}
    with torch.no_grad():
        for round_ in range(given.rounds + 1):
            for batch in BATCHES if round_ % 2 else reversed(BATCHES):
                seconds = step_s(model, batch, given.behind)
                # The first round warms up.
                if round_:
                    taken[batch].append(seconds)
    alone = np.array(taken[1])
    print("| texts | a step, ms | tokens/s of all | as many times as one text |\n| --- | --- | --- | --- |")
    for batch, values in taken.items():
        gains = batch * alone / np.array(values)
        typical = float(np.median(values))
        print(
            f"| {batch} | {1e3 * typical:.2f} | {batch / typical:,.0f} | {np.median(gains):.1f} ({gains.min():.1f} to {gains.max():.1f}) |"
        )


if __name__ == "__main__":
    main()
