"""The texts of a recipe: read twice, once for splits and what a task wants to know, once for tokens."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgedistill.errors import UserError
from edgedistill.files import canonical_hash
from edgedistill.tasks.data import SPLITS, Taught, Watch
from edgedistill.tasks.text import dataset, tables, tokenizing
from edgedistill.tasks.text.dataset import Problems, split_numbers
from edgedistill.tasks.text.recipe import Text
from edgedistill.tasks.text.task import DIMENSION

if TYPE_CHECKING:
    from edgedistill.tasks.text.scrubbed import ScrubbedTable


class TextSource:
    """What the data part of a recipe names. tokenizer: the model whose tokenizer is taken where the data names none."""

    def __init__(self, data: Text, tokenizer: str | None) -> None:
        self.data, self.tokenizer = data, tokenizer
        self.table = tables.table(data.source)
        self.scrubbed: ScrubbedTable | None = None
        if data.scrub is not None:
            from edgedistill.tasks.text.scrubbed import ScrubbedTable

            others = [name for name in (getattr(data, "label", None), data.split_column) if name]
            self.table = self.scrubbed = ScrubbedTable(self.table, data.scrub, [data.text], others)

    @property
    def fingerprint(self) -> str:
        """Changes when the rows or the tokenizer could have changed."""
        reference = self.data.tokenizer if isinstance(self.data.tokenizer, str) else self.tokenizer
        place = Path(reference).expanduser() if reference else None
        file = place / tokenizing.FILE if place is not None and place.is_dir() else place
        size = file.stat().st_size if file is not None and file.is_file() else None
        return canonical_hash([self.table.fingerprint, reference, size])

    def splits(self, column: str | None = None, see: Callable[[list[str | None]], None] = lambda values: None) -> np.ndarray:
        """The split of each row as the data say it, int8 [N], -1 for none; `see` is given the values of `column`, a part at a time.

        Raises UserError that names the rows without a text, and where there are no rows.
        """
        data, own = self.data, self.table.splits
        columns = [data.text, *([column] if column else []), *([data.split_column] if data.split_column else [])]
        problems, splits, row = Problems(self.table.name), [], 0
        for part in self.table.parts(columns):
            for place, (text, *_) in enumerate(part):
                if text is None or not text.strip():
                    problems.add(row + place, f"no text in {data.text}")
            if column:
                see([values[1] for values in part])
            if data.split_column:
                splits.append(split_numbers([values[-1] for values in part], data.split_column, row, problems))
            row += len(part)
        problems.check()
        if not row:
            raise UserError(f"{self.table.name}: found no rows, expected texts")
        if own is not None:
            return np.array([SPLITS.index(name) for name in own], np.int8)
        return np.concatenate(splits) if splits else np.full(row, -1, np.int8)

    def watched(self, split: np.ndarray, watch: Watch | None) -> np.ndarray:
        """`split` without the texts that `watch` leaves out."""
        return split if watch is None else watch("texts", lambda: dataset.texts(self.table, self.data.text), split)

    def write(self, split: np.ndarray, folder: Path, watch: Watch | None = None) -> dict[str, Any]:
        """Write tokens and splits into `folder`; returns what is known of them, by the fields of `TokenFacts` without `sha256`."""
        tokenizer = dataset.tokenizer_of(self.data, self.tokenizer, lambda: self._training(split))
        folder.mkdir(parents=True, exist_ok=True)
        described, warnings = dataset.write(self.table, self.data, tokenizer, split, folder, repeats=watch is None)
        return {
            "source": self.table.name,
            "splits": {name: int((split == number).sum()) for number, name in enumerate(SPLITS)},
            "warnings": warnings + ([] if watch is None else watch.warnings),
            "length": self.data.length,
            "buckets": self.data.buckets or [],
            "sizes": {DIMENSION: self.data.length} if self.data.buckets else {},
            "vocabulary": tokenizing.vocabulary_of(tokenizer),
            "padding": tokenizing.padding_of(tokenizer),
            "tokens": described,
            "personal": self.scrubbed and self.scrubbed.facts,
        }

    def taught(self) -> Iterator[Taught]:
        """Each text, with its licence where the data have a column of it."""
        columns = [self.data.text, *([self.data.license_column] if self.data.license_column else [])]
        place = 0
        for part in self.table.parts(columns):
            for text, *licence in part:
                yield Taught(place, _bytes(text), licensed(licence))
                place += 1

    def _training(self, split: np.ndarray) -> Iterator[str]:
        """The texts of train: a tokenizer learns nothing of val and holdout."""
        start = 0
        for part in dataset.texts(self.table, self.data.text):
            yield from (text for row, text in enumerate(part) if split[start + row] == 0)
            start += len(part)


def licensed(licence: list[str | None]) -> str:
    """What the ledger is told of a row with the value of `license_column`, or with none where there is no such column."""
    return _licensed(licence[0]) if licence and licence[0] else "{}"


@functools.lru_cache(1024)
def _licensed(licence: str) -> str:
    return json.dumps({"licence": licence})


def _bytes(text: str | None) -> bytes:
    return (text or "").encode("utf-8", "surrogatepass")
