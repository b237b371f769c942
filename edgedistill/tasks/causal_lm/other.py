"""Teachers with another tokenizer: they read the same rows in tokens of their own, and tell sorted probabilities (arXiv 2402.12030)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from edgedistill import processes
from edgedistill.tasks.causal_lm.decoder import Decoder
from edgedistill.tasks.causal_lm.loss_configs import SORTED
from edgedistill.tasks.causal_lm.wanted import longest, wanted_of

_MOST = 256
"""How many probabilities are told; those behind them are small."""


class SortedTeacher:
    """A decoder that answers with `sorted`: its largest probabilities at each of the student's wanted places, float32 [B, W, K].

    The first token of an answer is compared with the first one of the same answer in the teacher's tokens, and so on, up to the end of
    the shorter one; behind it all are 0.
    """

    def __init__(self, decoder: Decoder) -> None:
        self.device = processes.device()
        self._decoder = decoder.eval().to(self.device)

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The signal of a batch, whose rows are there in both tokens; see `Completions.batch`."""
        theirs, (prompts, counts) = inputs["other_ids"], inputs["other_spans"].numpy().T
        positions = torch.arange(theirs.shape[1], dtype=torch.int32).expand_as(theirs)
        wanted = torch.from_numpy(wanted_of(prompts, counts, longest(prompts, counts)))
        with torch.no_grad():
            logits = self._decoder(*(tensor.to(self.device) for tensor in (theirs, positions, wanted)))
            largest = logits.softmax(dim=2).topk(min(_MOST, logits.shape[2])).values.cpu()
        told = torch.zeros(*inputs["wanted"].shape, largest.shape[2])
        spans = zip(inputs["spans"].tolist(), inputs["other_spans"].tolist(), strict=True)
        for row, ((start, end), (other_start, other_end)) in enumerate(spans):
            # Nothing gives the first token of a row: where one of both has no prompt, both begin with the second one of the answer.
            first = int(min(start, other_start) == 0)
            count = min(end - start, other_end - other_start) - first
            if count > 0:
                at, other = first - int(start == 0), first - int(other_start == 0)
                told[row, at : at + count] = largest[row, other : other + count]
        return {SORTED: told}
