"""The tables of a recipe as one: the data, their sets, and a holdout of its own, one behind the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from edgedistill.files import canonical_hash
from edgedistill.recipe.data import HOLDOUT, MAIN, Member
from edgedistill.tasks.data import SET
from edgedistill.tasks.text.tables import AT_ONCE, Row, Table

UNSAID = ""
"""The split of a row whose table does not say it, where others do."""


@dataclass(frozen=True)
class Joined:
    """`tables`, each with its member of the data, as one `Table` with the further column `set`.

    usual: what a table without one of these columns has in it; some table has to have it.
    """

    members: Sequence[Member]
    tables: Sequence[Table]
    usual: Mapping[str, str | None]

    @property
    def name(self) -> str:
        """See `Table.name`."""
        return " and ".join(dict.fromkeys(table.name for table in self.tables))

    @property
    def fingerprint(self) -> str:
        """Changes with the tables, their names, and the names of their columns."""
        parts = zip(self.members, self.tables, strict=True)
        return canonical_hash([[member.name, table.fingerprint, self._names(member)] for member, table in parts])

    def __len__(self) -> int:
        return sum(map(len, self.tables))

    @cached_property
    def columns(self) -> list[str]:
        """Those of the first table, those that others may lack, and `set`."""
        further = [name for name in self.usual if any(self._has(place, name) for place in range(len(self.tables)))]
        return [*dict.fromkeys([*self.tables[0].columns, *further, SET])]

    def names(self, column: str) -> list[str] | None:
        """Those of the first table."""
        return self.tables[0].names(column)

    @property
    def splits(self) -> list[str] | None:
        """The split of each row, `UNSAID` where its table has none of its own; None where no table says one."""
        own = [HOLDOUT if member.fractions is None else table.splits for member, table in zip(self.members, self.tables, strict=True)]
        if not any(own):
            return None
        splits: list[str] = []
        for said, table in zip(own, self.tables, strict=True):
            splits += [said or UNSAID] * len(table) if said is None or isinstance(said, str) else said
        return splits

    def parts(self, columns: list[str]) -> Iterator[list[Row]]:
        """See `Table.parts`."""
        for place, (member, table) in enumerate(zip(self.members, self.tables, strict=True)):
            lacking = [name for name in columns if name in self.usual and name in self.columns and not self._has(place, name)]
            values = {name: self.usual[name] for name in lacking} | {SET: member.name}
            asked, own = [name for name in columns if name not in values], self._names(member)
            parts = table.parts([own.get(name, name) for name in asked]) if asked else _nothing(len(table))
            for part in parts:
                rows = (dict(zip(asked, row, strict=True)) | values for row in part)
                yield [tuple(row[name] for name in columns) for row in rows]

    def _has(self, place: int, column: str) -> bool:
        return self._names(self.members[place]).get(column, column) in self.tables[place].columns

    @staticmethod
    def _names(member: Member) -> dict[str, str]:
        return {} if member.name == MAIN else member.part.columns


def _nothing(count: int) -> Iterator[list[Row]]:
    """`count` rows without columns."""
    for start in range(0, count, AT_ONCE):
        yield [()] * min(AT_ONCE, count - start)


def joined(members: Sequence[Member], made: Callable[[Member], Table], usual: Mapping[str, str | None]) -> Table:
    """The table of all `members`, each made by `made`; that of the data alone where there is one member."""
    tables = [made(member) for member in members]
    return tables[0] if len(tables) == 1 else Joined(members, tables, usual)
