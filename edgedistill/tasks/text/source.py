"""The texts of a recipe: read twice, once for splits and what a task wants to know, once for tokens."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgedistill.errors import UserError
from edgedistill.files import canonical_hash
from edgedistill.recipe.data import Member
from edgedistill.tasks.classification.splits import assign_splits_of_sets
from edgedistill.tasks.data import SET, SPLITS, Taught, Watch
from edgedistill.tasks.text import dataset, tables, tokenizing
from edgedistill.tasks.text.dataset import Problems, split_numbers
from edgedistill.tasks.text.joined import UNSAID
from edgedistill.tasks.text.joined import joined as join
from edgedistill.tasks.text.recipe import Text, Texts
from edgedistill.tasks.text.task import DIMENSION

if TYPE_CHECKING:
    from edgedistill.tasks.text.scrubbed import ScrubbedTable


class TextSource:
    """What the data part of a recipe names. tokenizer: the model whose tokenizer is taken where the data names none."""

    def __init__(self, data: Text, tokenizer: str | None) -> None:
        self.data, self.tokenizer = data, tokenizer
        self.table = joined(data, lambda member: tables.table(member.part.source))
        self.scrubbed: ScrubbedTable | None = None
        if data.scrub is not None:
            from edgedistill.tasks.text.scrubbed import ScrubbedTable

            label = getattr(data, "label", None)
            self.table = self.scrubbed = ScrubbedTable(self.table, data.scrub, [data.text], [*([label] if label else []), *others(data)])

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
        problems, splits, row, unsaid = Problems(self.table.name), [], 0, UNSAID if data.several else None
        for part in self.table.parts(columns):
            for place, (text, *_) in enumerate(part):
                if text is None or not text.strip():
                    problems.add(row + place, f"no text in {data.text}")
            if column:
                see([values[1] for values in part])
            if data.split_column:
                splits.append(split_numbers([values[-1] for values in part], data.split_column, row, problems, unsaid=unsaid))
            row += len(part)
        problems.check()
        if not row:
            raise UserError(f"{self.table.name}: found no rows, expected texts")
        return with_own_splits(own, np.concatenate(splits) if splits else np.full(row, -1, np.int8))

    @cached_property
    def sets(self) -> np.ndarray | None:
        """The set of each row, [N]; None where the data have one."""
        return sets_of(self.table, self.data)

    def divided(self, split: np.ndarray, seed: int, labels: np.ndarray, classes: list[str]) -> np.ndarray:
        """`split`, int8 [N], with the rows that have none drawn by `seed`; see `assign_splits_of_sets`."""
        told = {"named": lambda row: f"row {row + 1}", "sample": "text"}
        return assign_splits_of_sets(self.data.members, self.sets, labels, split, classes, seed, **told)  # type: ignore[arg-type]

    def watched(self, split: np.ndarray, watch: Watch | None) -> np.ndarray:
        """`split` without the texts that `watch` leaves out."""
        return split if watch is None else watch("texts", lambda: dataset.texts(self.table, self.data.text), split)

    def write(self, split: np.ndarray, folder: Path, watch: Watch | None = None) -> dict[str, Any]:
        """Write tokens and splits into `folder`; returns what is known of them, by the fields of `TokenFacts` without `sha256`."""
        tokenizer = dataset.tokenizer_of(self.data, self.tokenizer, lambda: self._training(split))
        folder.mkdir(parents=True, exist_ok=True)
        described, warnings = dataset.write(self.table, self.data, tokenizer, split, folder, repeats=watch is None)
        tables.save_fields(self.table.parts(kept := fields(self.data)), kept, folder)
        return {
            "source": self.table.name,
            "splits": {name: int((split == number).sum()) for number, name in enumerate(SPLITS)},
            "warnings": warnings + ([] if watch is None else watch.warnings),
            "length": self.data.length,
            "buckets": self.data.buckets or [],
            "sizes": {DIMENSION: self.data.length} if self.data.buckets else {},
            "vocabulary": tokenizing.vocabulary_of(tokenizer),
            "padding": tokenizing.padding_of(tokenizer),
            "unknown": tokenizing.unknown_of(tokenizer),
            "tokens": described,
            "personal": self.scrubbed and self.scrubbed.facts,
        }

    def taught(self) -> Iterator[Taught]:
        """Each text, with its licence where the data have a column of it."""
        further, place = told_columns(self.data), 0
        for part in self.table.parts([self.data.text, *further.values()]):
            for text, *values in part:
                yield Taught(place, _bytes(text), told(tuple(further), tuple(values)))
                place += 1

    def _training(self, split: np.ndarray) -> Iterator[str]:
        """The texts of train: a tokenizer learns nothing of val and holdout."""
        start = 0
        for part in dataset.texts(self.table, self.data.text):
            yield from (text for row, text in enumerate(part) if split[start + row] == 0)
            start += len(part)


def fields(data: Texts) -> list[str]:
    """The columns whose values are fields of the samples."""
    return [*data.fields, *([SET] if data.several else [])]


def others(data: Texts) -> list[str]:
    """Columns of every task that a table is asked for, beside its texts."""
    named = [data.split_column, data.license_column, *fields(data)]
    return [name for name in named if name]


def joined(data: Texts, made: Callable[[Member], tables.Table], **usual: str) -> tables.Table:
    """The table of `data` with its sets and its holdout. usual: what a table has that lacks one of these columns, beside `others`."""
    return join(data.members, made, {**dict.fromkeys(others(data)), **({data.split_column: UNSAID} if data.split_column else {}), **usual})


def sets_of(table: tables.Table, data: Texts) -> np.ndarray | None:
    """The set of each row, [N]; None where the data have one."""
    return np.array([name for part in table.parts([SET]) for (name,) in part]) if data.several else None


def with_own_splits(own: list[str] | None, split: np.ndarray) -> np.ndarray:
    """`split`, int8 [N], with the split that the table itself says of a row, `own`, in place of that of a column."""
    if own is None:
        return split
    numbers = np.array([-1 if name == UNSAID else SPLITS.index(name) for name in own], np.int8)
    return np.where(numbers < 0, split, numbers)


def told_columns(data: Texts) -> dict[str, str]:
    """The columns of what the ledger is told of a row, by what it is."""
    columns = {"licence": data.license_column, "set": SET if data.several else None}
    return {what: column for what, column in columns.items() if column}


@functools.lru_cache(1024)
def told(names: tuple[str, ...], values: tuple[str | None, ...]) -> str:
    """What the ledger is told of a row: the `values` of `told_columns`, without those that are missing."""
    return json.dumps({name: value for name, value in zip(names, values, strict=True) if value})


def _bytes(text: str | None) -> bytes:
    return (text or "").encode("utf-8", "surrogatepass")
