"""What prompts of val ask of a language model beyond what training rows show: rare words, long answers, chains of answers."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from edgedistill.tasks.causal_lm.dataset import Completions
from edgedistill.tasks.causal_lm.source import Exchange, Exchanges
from edgedistill.tasks.requests import Demands

_WORD = re.compile(r"\w+")


def demands(source: Exchanges, data: Completions) -> Demands:
    """What val asks for. A word of an answer that stands in its own prompt can be copied; another one has to be known.

    Rows that teach answers to avoid show nothing.
    """
    of_train, of_val = (set(data.indices[split].tolist()) for split in ("train", "val"))
    shown: set[str] = set()
    asked: list[Exchange] = []
    for row, exchange in enumerate(source.exchanges()):
        if row in of_train and exchange.good:
            shown |= _words(exchange.answer)
        elif row in of_val:
            asked.append(exchange)
    unseen = sum(not _words(e.answer) <= shown | _words(*(message["content"] for message in e.messages)) for e in asked)
    val = data.indices["val"]
    return Demands(
        unseen, len(asked), "have a word in their answer that neither their prompt nor an answer of train has",
        length=_spread(data.counts[val] - data.prompts[val]),
        steps=_spread([1 + sum(message["role"] == "assistant" for message in e.messages) for e in asked]),
    )  # fmt: skip


def _words(*texts: str) -> set[str]:
    return {word for text in texts for word in _WORD.findall(text.casefold())}


def _spread(values: Sequence[int] | np.ndarray) -> tuple[float, float]:
    return float(np.median(values)), float(np.quantile(values, 0.95))
