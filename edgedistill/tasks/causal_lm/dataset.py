"""Prompts and completions as tokens that a language model reads, and the tokens that it should give next."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgedistill.files import read_arrays, read_json
from edgedistill.rows import Rows
from edgedistill.tasks.arrays import ArrayDataset
from edgedistill.tasks.causal_lm import chat, schema, told
from edgedistill.tasks.causal_lm.answered import Judge, called
from edgedistill.tasks.causal_lm.facts import LanguageFacts
from edgedistill.tasks.causal_lm.recipe import Data
from edgedistill.tasks.causal_lm.source import OTHER, TOKENS
from edgedistill.tasks.causal_lm.wanted import NONE, longest, targets_of, wanted_of
from edgedistill.tasks.data import SPLITS, Batch
from edgedistill.tasks.text.tables import read_fields

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from edgedistill.tasks.causal_lm.scorers import Scoring


class Completions(ArrayDataset):
    """The rows that `source.write` wrote.

    The wanted places of a row are those whose next token is of the answer; this token is their target. Rows that are learned have as many
    of them as their longest answer has, and so do those that are judged. A shorter answer repeats its last place, which does not count.

    tells: batches have what a service told of its answers, too.
    """

    facts: LanguageFacts

    def __init__(self, folder: Path, facts: LanguageFacts, config: Data, *, tells: bool = False) -> None:
        self.facts, self.folder, self.config, self._tells = facts, folder, config, tells
        self._tokens = Rows(folder / TOKENS)
        stored = read_arrays(folder)
        self.prompts, self.counts, self.avoid = stored["prompts"], stored["counts"], stored["avoid"]
        self.indices = {name: np.flatnonzero(stored["split"] == number) for number, name in enumerate(SPLITS)}
        self._judged = np.isin(stored["split"], (1, 2))
        self._room = [longest(self.prompts[rows], self.counts[rows]) for rows in (~self._judged, self._judged)]
        self.fields = read_fields(folder)

    def __len__(self) -> int:
        return len(self._tokens)

    @property
    def has_target(self) -> np.ndarray:
        """Every row has an answer."""
        return np.ones(len(self), bool)

    def inputs(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Tokens and their positions, int32 [B, length] each, and the wanted places, int32 [B, W]."""
        tokens = np.array(self._tokens[indices])
        positions = np.array(np.broadcast_to(np.arange(tokens.shape[1], dtype=np.int32), tokens.shape))
        return {"input_ids": tokens, "positions": positions, "wanted": self._wanted(indices)}

    def targets(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """The next token of each wanted place, int64 [B, W], -1 where none counts."""
        return {"logits": self._following(indices, ~self.avoid)}

    def _wanted(self, indices: np.ndarray) -> np.ndarray:
        # Rows that are learned may be longer than those that are judged, whose outputs are kept.
        room = self._room[int(self._judged[indices].all())]
        return wanted_of(self.prompts[indices], self.counts[indices], room)

    def _following(self, indices: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """The next token of each wanted place in rows that are `chosen`, bool [N]."""
        counts = np.where(chosen[indices], self.counts[indices], 0)
        return targets_of(self._tokens[indices], self._wanted(indices), self.prompts[indices], counts)

    def batch(self, indices: np.ndarray, view: int | None, *, keep: bool = True) -> Batch:
        """The rows `indices` as tensors; the target `avoid` has the tokens of answers to avoid, and `told.TARGET` what a service told.

        For a teacher with another tokenizer there are the inputs `other_ids` [B, L] in its tokens, and where answers begin and end in both
        kinds of tokens: `spans` and `other_spans`, int32 [B, 2].
        """
        import torch

        batch = super().batch(indices, view, keep=keep)
        batch.targets["avoid"] = torch.from_numpy(self._following(indices, self.avoid))
        if self._tells:
            values = self._told_of(indices, batch.inputs["wanted"].shape[1])
            batch.targets[told.TARGET] = torch.from_numpy(values)
            batch.mask[told.TARGET] = torch.from_numpy(np.isfinite(values[:, :, 0, 0]))
        if self._other is not None:
            tokens, spans = self._other
            batch.inputs["other_ids"] = torch.from_numpy(np.array(tokens[indices]))
            batch.inputs["other_spans"] = torch.from_numpy(spans[indices])
            batch.inputs["spans"] = torch.from_numpy(np.stack([self.prompts, self.counts], axis=1)[indices])
        return batch

    @cached_property
    def _told(self) -> Rows | None:
        """What a service told of the last rows; None before they are answered."""
        return Rows(path) if (path := self.folder / told.FILE).exists() else None

    def _told_of(self, indices: np.ndarray, places: int) -> np.ndarray:
        """The same of the rows `indices`, float32 [B, places, 2, K], see `told.FILE`."""
        if self._told is None:
            return np.full((len(indices), places, 2, 1), np.nan, np.float32)
        first, shape = len(self) - len(self._told), self._told.shape
        values = np.full((len(indices), places, *shape[2:]), np.nan, np.float32)
        answered = indices >= first
        values[answered, : shape[1]] = self._told[indices[answered] - first]
        return values

    @cached_property
    def _other(self) -> tuple[Rows, np.ndarray] | None:
        """The rows in tokens of a teacher with another tokenizer, and where each answer begins and ends in them, int32 [N, 2]."""
        if not (folder := self.folder / OTHER).exists():
            return None
        stored = read_arrays(folder)
        return Rows(folder / TOKENS), np.stack([stored["prompts"], stored["counts"]], axis=1)

    def mask(self, targets: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The wanted places that count, bool [B, W]."""
        return {name: values != NONE for name, values in targets.items()}

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        from tokenizers import Tokenizer

        return Tokenizer.from_file(str(self.folder / chat.FOLDER / chat.FILES[0]))

    @cached_property
    def judge(self) -> Judge:
        """What says whether an answer is right, and keeps to its format and policy."""
        fits = read_json(file) if (file := self.folder / schema.FILE).exists() else None
        return Judge(self.config.format, fits, self.config.policy)

    @cached_property
    def scorers(self) -> list[Scoring]:
        """The classifiers that score answers."""
        from edgedistill.tasks.causal_lm.scorers import Scoring

        return [Scoring(config) for config in self.config.scorers]

    def text(self, tokens: Sequence[int] | np.ndarray, *, marks: bool = False) -> str:
        """What tokens say. marks: with special ones."""
        return self._tokenizer.decode([int(token) for token in tokens], skip_special_tokens=not marks)

    def prompt(self, index: int) -> np.ndarray:
        """The tokens of a row's prompt, int32 [n]."""
        return np.array(self._tokens[index])[: self.prompts[index]]

    def answer(self, index: int) -> np.ndarray:
        """The tokens of a row's answer with its end, int32 [n]."""
        return np.array(self._tokens[index])[self.prompts[index] : self.counts[index]]

    def tools(self, indices: np.ndarray) -> np.ndarray:
        """The tool that the answer of each of the rows `indices` [n] calls, str [n]; empty for an answer that is no call."""
        return np.array([called(self.text(self.answer(index))) for index in indices])
