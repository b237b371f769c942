"""The prompts and completions of a recipe, read once for splits and the tokenizer, and once for tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgedistill.errors import UserError
from edgedistill.files import canonical_hash, sha256_tree, write_arrays
from edgedistill.progress import track
from edgedistill.recipe.data import Member, SetSplit
from edgedistill.rows import writing
from edgedistill.tasks.arrays import drawn
from edgedistill.tasks.causal_lm import chat, schema
from edgedistill.tasks.causal_lm.answers.asking import Prompt
from edgedistill.tasks.causal_lm.example import ExampleTable
from edgedistill.tasks.causal_lm.facts import LanguageFacts
from edgedistill.tasks.causal_lm.recipe import Data, Example, TrainedBytes
from edgedistill.tasks.causal_lm.wanted import longest
from edgedistill.tasks.data import SPLITS, UNUSED, Taught, Watch
from edgedistill.tasks.sets import divided
from edgedistill.tasks.text import tables
from edgedistill.tasks.text.dataset import Problems, split_numbers
from edgedistill.tasks.text.joined import UNSAID
from edgedistill.tasks.text.source import fields, joined, others, sets_of, told, told_columns, with_own_splits
from edgedistill.tasks.text.tables import AT_ONCE

if TYPE_CHECKING:
    from edgedistill.tasks.text.scrubbed import ScrubbedTable

TOKENS = "tokens.npy"
"""Tokens of prompt and completion, int32 [N, length], filled up behind; beside them the tokens of each prompt and of each row."""

__all__ = ["AT_ONCE", "OTHER", "TOKENS", "Exchange", "Exchanges", "write"]

OTHER = "other"
"""The folder of the same in the tokens of a teacher with another tokenizer."""
_TRUTHS = {"true": True, "1": True, "good": True, "false": False, "0": False, "bad": False}


@dataclass(frozen=True)
class Exchange:
    """A conversation up to the answer, and the answer."""

    messages: tuple[dict[str, str], ...]
    answer: str
    good: bool = True
    """Whether the answer is one to follow; others are to be avoided."""

    @property
    def asked(self) -> str:
        """What is asked, without instructions that all rows share: the same question twice is leakage, whatever the answers are."""
        said = "\n".join(message["content"] for message in self.messages if message["role"] != "system")
        return said or self.answer


class Exchanges:
    """What the data part of a recipe names.

    tokenizer: the model whose tokenizer is taken where the data names none. other: a model that reads the rows in tokens of its own too.
    """

    def __init__(self, data: Data, tokenizer: str | None, other: str | None = None) -> None:
        self.data, self.tokenizer, self.other = data, tokenizer, other
        self.table = joined(data, _table, **({data.good: "true"} if data.good else {}))
        self.scrubbed: ScrubbedTable | None = None
        if data.scrub is not None:
            from edgedistill.tasks.text.scrubbed import ScrubbedTable

            good = [data.good] if data.good else []
            self.table = self.scrubbed = ScrubbedTable(self.table, data.scrub, self._texts_of, [*good, *others(data)])

    @property
    def fingerprint(self) -> str:
        """Changes when the rows or the tokenizer could have changed."""
        reference = self.data.tokenizer if isinstance(self.data.tokenizer, str) else self.tokenizer
        return canonical_hash([self.table.fingerprint, *(chat.fingerprint(name) for name in (reference, self.other))])

    def prepare(self, folder: Path, seed: int, watch: Watch | None = None) -> LanguageFacts:
        """Write tokens, tokenizer and splits into `folder`. Raises UserError that names the rows that cannot be used."""
        prints, split = self._first_look()

        def draw(member: Member, rows: np.ndarray, own: np.ndarray) -> np.ndarray:
            if (own >= 0).any():
                return np.where(own < 0, 0, own)
            assert member.fractions is not None
            # Rows of one prompt stay together, or val would ask what train answers.
            unique, places = np.unique(prints[rows], return_inverse=True)
            return drawn(len(unique), SetSplit(val=member.fractions[0], holdout=member.fractions[1]), seed)[places]

        split = divided(self.data.members, self.sets, split, draw)
        if missing := [name for number, name in enumerate(SPLITS[:2]) if not (split == number).any()]:
            raise UserError(f"{self.table.name}: found no rows of {missing[0]}, expected some: add rows, or change data.split")
        if watch is not None:
            split = watch("texts", lambda: ([exchange.asked for exchange in part] for part in self._rows()), split)
        schema.save(self.data, folder)
        made = self._chat(split)
        made.save(folder / chat.FOLDER)
        prompts, counts, avoid = write(self._rows(), len(split), made, self.data, folder, self.table.name)
        if self.other:
            # Another tokenizer may need more tokens for the same text.
            longer = self.data.model_copy(update={"length": 2 * self.data.length})
            write(self._rows(), len(split), chat.found(self.other), longer, folder / OTHER, self.table.name)
        tables.save_fields(self.table.parts(kept := fields(self.data)), kept, folder)
        # Nothing is judged by an answer to avoid.
        split[avoid & (split > 0)] = UNUSED
        write_arrays(folder, {"split": split})
        median, judged = int(np.median(counts)), np.isin(split, (1, 2))
        facts = LanguageFacts(
            source=self.table.name,
            sha256=sha256_tree(folder),
            splits={name: int((split == number).sum()) for number, name in enumerate(SPLITS)},
            sizes={"tokens": self.data.length, "wanted": longest(prompts[judged], counts[judged])},
            warnings=self._warnings(prints, split, counts) if watch is None else [*self._cut(counts), *watch.warnings],
            length=self.data.length,
            vocabulary=made.vocabulary,
            padding=made.padding,
            tokens=[f"{median} tokens in half of the rows, {self.data.length} at most"],
            end=made.end,
            tokenizer=made.identity,
            personal=self.scrubbed and self.scrubbed.facts,
            counted=int((counts - np.maximum(prompts, 1))[split == 1].sum()),
        )
        facts.write(folder)
        return facts

    def exchanges(self) -> Iterator[Exchange]:
        """All rows in their order; of rows that `prepare` refused nothing is said."""
        for part in self._rows():
            yield from part

    def taught(self) -> Iterator[Taught]:
        """Each row by its prompt, as answers of teachers are; by its whole text where it has none."""
        further, count, place = told_columns(self.data), len(self._columns), 0
        for part in self.table.parts([*self._columns, *further.values()]):
            for values in part:
                exchange = self._exchange(values)
                known = Prompt([dict(message) for message in exchange.messages]).key if exchange.messages else exchange.answer
                yield Taught(place, known.encode("utf-8", "surrogatepass"), told(tuple(further), tuple(values[count:])))
                place += 1

    def _first_look(self) -> tuple[np.ndarray, np.ndarray]:
        """A number for each row's prompt, int64 [N], and the split that the data say, int8 [N], -1 for none."""
        problems, splits, prints = Problems(self.table.name), list[np.ndarray](), list[int]()
        own, column, unsaid = self.table.splits, self.data.split_column, UNSAID if self.data.several else None
        for part in self.table.parts([*self._columns, *([column] if column else [])]):
            for values in part:
                try:
                    exchange = self._exchange(values)
                except ValueError as error:
                    problems.add(len(prints), str(error))
                    prints.append(0)
                    continue
                said = exchange.messages or [exchange.answer]
                prints.append(int(canonical_hash(list(said))[:15], 16))
            if column:
                splits.append(split_numbers([values[-1] for values in part], column, len(prints) - len(part), problems, unsaid))
        problems.check()
        if not prints:
            raise UserError(f"{self.table.name}: found no rows, expected prompts and completions")
        return np.array(prints), with_own_splits(own, np.concatenate(splits) if splits else np.full(len(prints), -1, np.int8))

    @cached_property
    def sets(self) -> np.ndarray | None:
        """The set of each row, see `TextSource.sets`."""
        return sets_of(self.table, self.data)

    @property
    def _columns(self) -> list[str]:
        data = self.data
        return [*self._texts_of, *([data.good] if data.good else [])]

    @property
    def _texts_of(self) -> list[str]:
        """The columns of texts."""
        data = self.data
        return [data.messages] if data.messages else [*([data.prompt] if data.prompt else []), data.completion]

    def _exchange(self, values: Sequence[str | None]) -> Exchange:
        """The row with `values` of the columns; ValueError with what is wrong."""
        columns = self._columns
        for column, value in zip(columns, values, strict=False):
            if value is None or not value.strip():
                raise ValueError(f"no text in {column}")
        texts, good = [value or "" for value in values], True
        if self.data.good:
            good = _truth(texts[len(columns) - 1], self.data.good)
        if self.data.messages:
            *messages, last = chat.messages_of(texts[0])
            return Exchange(tuple(messages), last["content"], good)
        if self.data.prompt:
            return Exchange(({"role": "user", "content": texts[0]},), texts[1], good)
        return Exchange((), texts[0], good)

    def _rows(self) -> Iterator[list[Exchange]]:
        for part in self.table.parts(self._columns):
            yield [self._exchange(values) for values in part]

    def _chat(self, split: np.ndarray) -> chat.Chat:
        """The tokenizer of the data: named, trained on the training texts, or the teacher's."""
        if isinstance(self.data.tokenizer, TrainedBytes):
            return chat.trained(self.data.tokenizer, self._texts(split))
        if (name := self.data.tokenizer or self.tokenizer) is None:
            raise UserError(
                "data.tokenizer: found none, expected one, since no model brings one; {vocabulary: 1024} trains one on the texts"
            )
        return chat.found(name)

    def _texts(self, split: np.ndarray) -> Iterator[str]:
        """The texts of train: a tokenizer learns nothing of val and holdout."""
        for row, exchange in enumerate(self.exchanges()):
            if split[row] == 0:
                yield from (message["content"] for message in exchange.messages)
                yield exchange.answer

    def _cut(self, counts: np.ndarray) -> list[str]:
        if at_limit := int((counts >= self.data.length).sum()):
            return [f"{at_limit:,} of {len(counts):,} rows have {self.data.length} tokens or more and may be cut; raise data.length"]
        return []

    def _warnings(self, prints: np.ndarray, split: np.ndarray, counts: np.ndarray) -> list[str]:
        texts = self._cut(counts)
        if repeated := int(np.isin(prints[split > 0], prints[split == 0]).sum()):
            texts.append(
                f"{repeated:,} of {int((split > 0).sum()):,} prompts of val and holdout stand in train too, which makes scores too good"
            )
        return texts


def _table(member: Member) -> tables.Table:
    source = member.part.source
    return ExampleTable(source.rows) if isinstance(source, Example) else tables.table(source)


def _truth(text: str, column: str) -> bool:
    """What a column says of an answer. Raises ValueError for another word than true and false."""
    if (word := text.strip().lower()) not in _TRUTHS:
        raise ValueError(f"found '{text}' in {column}, expected true or false")
    return _TRUTHS[word]


def write(
    parts: Iterator[list[Exchange]], count: int, made: chat.Chat, data: Data, folder: Path, name: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Write the tokens of `count` rows into `folder`; returns the tokens of each prompt and of each row, int32 [count], and what to avoid.

    Raises UserError that names the rows whose prompt leaves no room for an answer; longer completions are cut.
    """
    folder.mkdir(parents=True, exist_ok=True)
    prompts, counts, avoid, row = np.zeros(count, np.int32), np.zeros(count, np.int32), np.zeros(count, bool), 0
    problems = Problems(name)
    with writing(folder / TOKENS, np.int32, (count, data.length)) as write_rows, track("tokenize", count) as progress:
        for part in parts:
            asked = made.prompts([exchange.messages for exchange in part]) if part[0].messages else [[] for _ in part]
            tokens = np.full((len(part), data.length), made.padding, np.int32)
            for place, (prompt, answer) in enumerate(zip(asked, made.completions([e.answer for e in part]), strict=True)):
                if len(prompt) >= data.length:
                    problems.add(
                        row,
                        f"its prompt has {len(prompt)} tokens, expected fewer than data.length, {data.length}, to leave room for an answer",
                    )
                both = [*prompt, *answer][: data.length]
                tokens[place, : len(both)] = both
                prompts[row], counts[row], avoid[row] = len(prompt), len(both), not part[place].good
                row += 1
            write_rows(tokens)
            progress.advance(len(part))
    problems.check()
    write_arrays(folder, {"prompts": prompts, "counts": counts, "avoid": avoid})
    return prompts, counts, avoid
