"""Texts as rows of tokens, written once into the run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgedistill.errors import UserError
from edgedistill.files import read_array, read_arrays, replacing, write_arrays
from edgedistill.progress import track
from edgedistill.rows import Rows, writing
from edgedistill.tasks.arrays import ArrayDataset
from edgedistill.tasks.data import SPLITS, Batch, DataFacts
from edgedistill.tasks.text import tokenizing
from edgedistill.tasks.text.recipe import Text, TrainedTokenizer
from edgedistill.tasks.text.tables import AT_ONCE, Table, read_fields
from edgedistill.tasks.text.task import DIMENSION

TOKENS, MASK = "input_ids", "attention_mask"
_TOKENS, _COUNTS, _BUCKET = "tokens.npy", "counts.npy", "bucket"
_TOLD = 10


class Problems:
    """Rows that cannot be used, of which the first ten are told."""

    def __init__(self, table: str) -> None:
        self.table, self.count, self.first = table, 0, list[str]()

    def add(self, row: int, why: str) -> None:
        """Note a row by its number, from 0."""
        self.count += 1
        self.first += [f"row {row + 1}: {why}"] if len(self.first) < _TOLD else []

    def check(self) -> None:
        """Raise UserError where there are any."""
        if self.count:
            more = f"; and {self.count - _TOLD:,} more" if self.count > _TOLD else ""
            raise UserError(f"{self.table}: {self.count:,} row(s) cannot be used: {'; '.join(self.first)}{more}. Repair or remove them.")


def split_numbers(values: Sequence[str | None], column: str, start: int, problems: Problems, unsaid: str | None = None) -> np.ndarray:
    """The numbers of named splits, int8 [n]; what is no split is a problem of its row, the first of which has the number `start`.

    unsaid: what stands in rows whose table has no such column; they have the number -1.
    """
    numbers = np.full(len(values), -1, np.int8)
    for row, value in enumerate(values):
        if value in SPLITS:
            numbers[row] = SPLITS.index(value)
        elif unsaid is None or value != unsaid:
            problems.add(start + row, f"found the split '{value}' in {column}, expected {', '.join(SPLITS)}")
    return numbers


def tokenizer_of(data: Text, reference: str | None, training: Callable[[], Iterator[str]]) -> tokenizing.Tokenizer:  # type: ignore[name-defined]
    """The tokenizer of a recipe: its own, one trained on the texts of `training`, or that of the model `reference`."""
    if isinstance(data.tokenizer, TrainedTokenizer):
        return tokenizing.trained(data.tokenizer, training, data.length)
    if (name := data.tokenizer or reference) is None:
        raise UserError("data.tokenizer: found none, expected one, since the teacher is new; {vocabulary: 8192} trains one on the texts")
    return tokenizing.found(name, data.length)


def texts(table: Table, column: str) -> Iterator[list[str]]:
    """All texts in their order, a part at a time."""
    for part in table.parts([column]):
        yield [row[0] or "" for row in part]


def write(
    table: Table,
    data: Text,
    tokenizer: tokenizing.Tokenizer,
    split: np.ndarray,
    folder: Path,
    *,
    repeats: bool,  # type: ignore[name-defined]
) -> tuple[list[str], list[str]]:
    """Write tokens, tokenizer and splits into `folder`; returns facts for readers, and warnings.

    repeats: warn of texts that stand in train and in val or the holdout.
    """
    count, length = len(table), data.length
    tokenizer_file = folder / tokenizing.FILE
    with replacing(tokenizer_file) as temporary:
        tokenizer.save(str(temporary))
    prints, used, at_limit = np.zeros(count, np.uint64), np.zeros(length + 1, np.int64), 0
    with (
        writing(folder / _TOKENS, np.int32, (count, length)) as write_tokens,
        writing(folder / _COUNTS, np.int32, (count,)) as write_counts,
        track("tokenize", count) as progress,
    ):
        done = 0
        tokenizer.no_truncation()
        for part in texts(table, data.text):
            tokenizer.enable_truncation(length)
            tokens, counts = tokenizing.encoded(tokenizer, part, length)
            write_tokens(tokens)
            write_counts(counts)
            used += np.bincount(counts, minlength=length + 1)
            at_limit += int((counts == length).sum())
            prints[done : done + len(part)] = [_print(text) for text in part]
            done += len(part)
            progress.advance(len(part))
    write_arrays(folder, {"split": split})
    if data.buckets:
        write_arrays(folder, {_BUCKET: np.array(data.buckets)[np.searchsorted(data.buckets, read_array(folder / _COUNTS))]})
    median = int(np.searchsorted(used.cumsum(), count / 2))
    facts = [f"{median} tokens in half of the texts, {length} at most"]
    warnings = []
    if at_limit:
        warnings.append(f"{at_limit:,} of {count:,} texts have {length} tokens or more and may be cut; data.length says how many are read")
    warnings += _repeated(prints, split) if repeats else []
    return facts, warnings


def seen_in_train(folder: Path, split: np.ndarray, vocabulary: int) -> np.ndarray:
    """Which tokens occur in the training texts that `write` wrote into `folder`, bool [vocabulary]."""
    tokens, seen = Rows(folder / _TOKENS), np.zeros(vocabulary, bool)
    train = np.flatnonzero(split == 0)
    for start in range(0, len(train), AT_ONCE):
        seen[tokens[train[start : start + AT_ONCE]]] = True
    return seen


def _print(text: str) -> int:
    """The same for texts that differ in case and blanks only."""
    normal = " ".join(text.casefold().split())
    return int.from_bytes(hashlib.blake2b(normal.encode(), digest_size=8).digest(), "little")


def _repeated(prints: np.ndarray, split: np.ndarray) -> list[str]:
    """A warning of texts that stand in train and in val or the holdout."""
    seen, judged = np.unique(prints[split == 0]), prints[split > 0]
    if not (count := int(np.isin(judged, seen).sum())):
        return []
    return [f"{count:,} of {len(judged):,} texts of val and holdout stand in train too, which makes scores too good: remove them"]


class TextDataset(ArrayDataset):
    """The tokens that `write` wrote, filled up to one length, with their mask; `targets` [N, ...] by the name of the output.

    With buckets the field `tokens` is that of each text, and a batch is filled up to the largest of its texts.
    """

    def __init__(self, folder: Path, facts: DataFacts, targets: Sequence[str] = ()) -> None:
        self.facts = facts
        self._tokens, self._counts = Rows(folder / _TOKENS), Rows(folder / _COUNTS)
        stored = read_arrays(folder)
        self._values = {name: stored[name] for name in targets}
        self.indices = {name: np.flatnonzero(stored["split"] == number) for number, name in enumerate(SPLITS)}
        self.fields = read_fields(folder) | ({DIMENSION: stored[_BUCKET]} if _BUCKET in stored else {})

    def __len__(self) -> int:
        return len(self._tokens)

    @property
    def has_target(self) -> np.ndarray:
        """Whether each text has a target, bool [N]."""
        return np.logical_and.reduce([values >= 0 for values in self._values.values()])

    def batch(self, indices: np.ndarray, view: int | None, *, keep: bool = True) -> Batch:
        """The texts `indices` [B] as tensors, tokens and mask [B, bucket]."""
        batch = super().batch(indices, view, keep=keep)
        if DIMENSION not in self.fields:
            return batch
        longest = int(self.fields[DIMENSION][indices].max())
        return replace(batch, inputs={name: values[:, :longest].contiguous() for name, values in batch.inputs.items()})

    def inputs(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Tokens and mask, int32 [B, length] each."""
        tokens, counts = self._tokens[indices], self._counts[indices]
        mask = np.arange(tokens.shape[1])[None] < counts[:, None]
        return {TOKENS: np.array(tokens), MASK: mask.astype(np.int32)}

    def targets(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """What the outputs are compared with, [B, ...]."""
        return {name: values[indices] for name, values in self._values.items()}
