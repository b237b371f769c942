"""Models that score answers: how likely a classifier of texts gives a label to a prompt with its answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgedistill.errors import UserError
from edgedistill.recipe.base import nearest
from edgedistill.tasks.causal_lm.recipe import Scorer

_AT_ONCE = 16


class Scoring:
    """A scorer of a recipe, loaded. field: what names it, for messages. Raises UserError where it has no such label, or no tokenizer."""

    def __init__(self, config: Scorer, field: str | None = None) -> None:
        from transformers import AutoTokenizer

        from edgedistill.tasks.text import models

        self.config = config
        field = field or f"data.scorers.{config.name}"
        model: Any = models.loaded(config.hf, field)
        self._model: Any = model.eval()
        labels = {str(name).lower(): number for number, name in self._model.config.id2label.items()}
        if config.label.lower() not in labels:
            known = ", ".join(self._model.config.id2label.values())
            raise UserError(f"{field}.label: found '{config.label}', expected one of {known}{nearest(config.label, labels)}")
        self._label = int(labels[config.label.lower()])
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(config.hf, trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise UserError(f"{field}.hf: '{config.hf}' has no tokenizer ({str(error).splitlines()[0]})") from error

    def __call__(self, prompts: Sequence[str], answers: Sequence[str]) -> np.ndarray:
        """The probability of the label for each prompt with its answer, float64 [n]."""
        import torch

        scores: list[np.ndarray] = []
        for start in range(0, len(answers), _AT_ONCE):
            first, second = ([*texts[start : start + _AT_ONCE]] for texts in (prompts, answers))
            pairs = (first, second) if self.config.with_prompt else (second,)
            tokens = self._tokenizer(*pairs, truncation=True, padding=True, return_tensors="pt")
            with torch.no_grad():
                logits = self._model(**tokens).logits.double()
            scores.append(logits.softmax(dim=1)[:, self._label].numpy())
        return np.concatenate(scores) if scores else np.zeros(0)
