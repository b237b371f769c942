"""A table of texts without personal data, as tasks read it."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import IO

from edgedistill.files import canonical_hash
from edgedistill.progress import track
from edgedistill.recipe.scrub import Scrub
from edgedistill.records.scrub import PersonalData
from edgedistill.tasks.text.tables import AT_ONCE, Row, Table
from edgedistill.teach.scrub.scrubbing import NotScanned, Scrubbing


class ScrubbedTable:
    """`table` without personal data in the columns `texts`, and without the rows that could not be read.

    others: further columns that are asked for. All are read once; what is kept for later reads is free of personal data, in a file
    without a name.
    """

    def __init__(self, table: Table, config: Scrub, texts: Sequence[str], others: Sequence[str] = ()) -> None:
        self._table, self._texts = table, texts
        self.scrubbing, self._config = Scrubbing(config), config
        self._columns = [*dict.fromkeys([*texts, *others])]
        self.name = table.name

    @property
    def fingerprint(self) -> str:
        """Changes with the rows, and with what is found and replaced in them."""
        return canonical_hash([self._table.fingerprint, self.scrubbing.identity])

    @cached_property
    def _read(self) -> tuple[IO[str], list[int], Counter[str]]:
        """The rows as JSON, the numbers of those that were kept, and why others were not."""
        columns = [name for name in self._columns if name in self._texts or name in self._table.columns]
        file = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115  it is read as long as the table is
        kept, dropped, number = list[int](), Counter[str](), 0
        with track("scrub", len(self._table)) as progress:
            for part in self._table.parts(columns):
                for row in part:
                    try:
                        clean = {name: self._clean(name, value) for name, value in zip(columns, row, strict=True)}
                    except NotScanned as error:
                        dropped[str(error)] += 1
                    else:
                        file.write(json.dumps(clean) + "\n")
                        kept.append(number)
                    number += 1
                progress.advance(len(part))
        return file, kept, dropped

    def _clean(self, name: str, value: str | None) -> str | None:
        return value if value is None or name not in self._texts else self.scrubbing.document(value, name)

    def __len__(self) -> int:
        return len(self._read[1])

    @property
    def columns(self) -> list[str]:
        """See `Table.columns`."""
        return self._table.columns

    def names(self, column: str) -> list[str] | None:
        """See `Table.names`."""
        return self._table.names(column)

    @property
    def splits(self) -> list[str] | None:
        """See `Table.splits`."""
        own = self._table.splits
        return None if own is None else [own[number] for number in self._read[1]]

    def parts(self, columns: list[str]) -> Iterator[list[Row]]:
        """See `Table.parts`."""
        if not {*columns} <= {*self._columns} & {*self._table.columns}:
            # It says what is missing.
            yield from self._table.parts([name for name in columns if name not in self._table.columns])
            raise ValueError(f"columns {columns} of {self._columns}")
        file = self._read[0]
        file.seek(0)
        while lines := [*islice(iter(file.readline, ""), AT_ONCE)]:
            # A place of its own for each reader, since several read at once.
            place = file.tell()
            yield [tuple(row[name] for name in columns) for row in map(json.loads, lines)]
            file.seek(place)

    @property
    def facts(self) -> PersonalData:
        """What was found, as a run keeps it."""
        dropped = self._read[2]
        found, values = (dict(sorted(counts.items())) for counts in (self.scrubbing.found, self.scrubbing.values))
        return PersonalData(engine=self._config.engine, found=found, values=values, dropped=dict(sorted(dropped.items())))
