"""Teachers with another tokenizer: they read the same rows in tokens of their own, and tell sorted probabilities (arXiv 2402.12030)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from edgedistill import processes
from edgedistill.tasks.causal_lm.decoder import Decoder
from edgedistill.tasks.causal_lm.loss_configs import SORTED

_MOST = 256
"""How many probabilities are told; those behind them are small."""


class SortedTeacher:
    """A decoder that answers with `sorted`: its largest probabilities at each of the student's positions, float32 [B, T, K].

    The first token of an answer is compared with the first one of the same answer in the teacher's tokens, and so on, up to the end of
    the shorter one; behind it, and in prompts, all are 0.
    """

    def __init__(self, decoder: Decoder) -> None:
        self.device = processes.device()
        self._decoder = decoder.eval().to(self.device)

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The signal of a batch, whose rows are there in both tokens; see `Completions.batch`."""
        ours, theirs = inputs["input_ids"], inputs["other_ids"]
        positions = torch.arange(theirs.shape[1], dtype=torch.int32).expand_as(theirs)
        with torch.no_grad():
            logits = self._decoder(theirs.to(self.device), positions.to(self.device))
            largest = logits.softmax(dim=2).topk(min(_MOST, logits.shape[2])).values.cpu()
        told = torch.zeros(*ours.shape, largest.shape[2])
        spans = zip(inputs["spans"].tolist(), inputs["other_spans"].tolist(), strict=True)
        for row, ((start, end), (other_start, other_end)) in enumerate(spans):
            # A position gives the token behind it; nothing gives the first one of a row.
            first = int(min(start, other_start) == 0)
            count = min(end - start, other_end - other_start) - first
            if count > 0:
                at, other = start + first - 1, other_start + first - 1
                told[row, at : at + count] = largest[row, other : other + count]
        return {SORTED: told}
