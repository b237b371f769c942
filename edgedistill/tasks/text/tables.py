"""Rows of texts from files and from datasets of Hugging Face, a part at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from edgedistill.errors import UserError
from edgedistill.files import read_arrays, sha256_file, sha256_tree, write_arrays
from edgedistill.recipe.base import Config
from edgedistill.tasks.text.recipe import Csv, Jsonl, Parquet, Saved

if TYPE_CHECKING:
    import numpy as np

AT_ONCE = 4096
"""Rows in a part."""
_FIELDS = "fields"
Row = tuple[str | None, ...]
_SPLITS = {"train": "train", "validation": "val", "val": "val", "dev": "val", "test": "holdout", "holdout": "holdout"}
"""Splits of datasets by their usual names."""


class Table(Protocol):
    """Columns of texts; what is no text is written as one."""

    @property
    def name(self) -> str:
        """What a report calls it."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever the rows could have changed."""

    def __len__(self) -> int:
        """Number of rows."""

    @property
    def columns(self) -> list[str]:
        """The names of its columns."""

    def parts(self, columns: list[str]) -> Iterator[list[Row]]:
        """All rows in their order, with the values of `columns`. Raises UserError where there is no such column."""

    def names(self, column: str) -> list[str] | None:
        """All values that a column can have, in their order, where the data say it."""

    @property
    def splits(self) -> list[str] | None:
        """The split of each row, where the data have splits of their own."""


def table(source: Jsonl | Csv | Parquet | Saved) -> Table:
    """The table that the data part of a recipe names."""
    if isinstance(source, Saved):
        return SavedTable(source.datasets)
    path = next(value for value in source.__dict__.values() if isinstance(value, Path))
    return FileTable(path, _READERS[type(source)])


_READERS: dict[type[Config], str] = {
    Jsonl: "read_json(?, format='newline_delimited', maximum_object_size=67108864{columns})",
    Csv: "read_csv(?, header=true, all_varchar=true)",
    Parquet: "read_parquet(?)",
}


@dataclass
class FileTable:
    """A file, read by DuckDB."""

    path: Path
    reader: str

    @property
    def name(self) -> str:
        """The name of the file."""
        return self.path.name

    @property
    def fingerprint(self) -> str:
        """The hash of the file."""
        return sha256_file(self.path)

    def __len__(self) -> int:
        return self._count

    @cached_property
    def _count(self) -> int:
        return int(next(self._select("count(*)", {}))[0][0])

    @cached_property
    def columns(self) -> list[str]:
        """Those of its heading; JSON has none, so that the columns are those of its first rows."""
        return [str(row[0]) for rows in self._select("*", {}, describe=True) for row in rows]

    def names(self, column: str) -> list[str] | None:
        """Files do not say it."""
        return None

    @property
    def splits(self) -> list[str] | None:
        """Files have none of their own."""
        return None

    def parts(self, columns: list[str]) -> Iterator[list[Row]]:
        """See `Table.parts`."""
        if missing := [column for column in columns if column not in self.columns]:
            raise UserError(f"{self.path}: found no column '{missing[0]}', expected one of {', '.join(self.columns)}")
        wanted = ", ".join(f"CAST({_quoted(column)} AS VARCHAR)" for column in columns)
        yield from self._select(wanted, dict.fromkeys(columns, "VARCHAR"))

    def _select(self, what: str, types: Mapping[str, str], *, describe: bool = False) -> Iterator[list[Any]]:
        import duckdb

        listed = f", columns={{{', '.join(f'{_text(name)}: {_text(kind)}' for name, kind in types.items())}}}" if types else ""
        query = f"{'DESCRIBE ' if describe else ''}SELECT {what} FROM {self.reader.format(columns=listed)}"
        try:
            with duckdb.connect() as connection:
                result = connection.execute(query, [str(self.path)])
                while rows := result.fetchmany(AT_ONCE):
                    yield rows
        except duckdb.Error as error:
            raise UserError(f"{self.path}: not readable ({str(error).splitlines()[0]}); repair it, or name another file") from error


def save_fields(parts: Iterator[list[Row]], columns: list[str], folder: Path) -> None:
    """Write what `columns` say of each row into `folder`, where `read_fields` finds it; an empty text for nothing.

    parts: the values of `columns`, as `Table.parts` gives them.
    """
    import numpy as np

    if columns:
        rows = [row for part in parts for row in part]
        write_fields({name: np.array([row[place] or "" for row in rows]) for place, name in enumerate(columns)}, folder)


def write_fields(values: Mapping[str, np.ndarray], folder: Path) -> None:
    """Write fields of the samples, [N] by name, into `folder`, where `read_fields` finds them."""
    if values:
        write_arrays(folder / _FIELDS, values)


def read_fields(folder: Path) -> dict[str, np.ndarray]:
    """What `save_fields` wrote into `folder`: texts [N] by the name of the column."""
    return read_arrays(folder / _FIELDS)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


class SavedTable:
    """A dataset of Hugging Face: a folder of `save_to_disk`, or a name on the hub."""

    def __init__(self, reference: str) -> None:
        self.reference = reference
        self.name = Path(reference).name

    @property
    def fingerprint(self) -> str:
        """The hash of the folder; on the hub that of the loaded data."""
        if Path(self.reference).is_dir():
            return sha256_tree(Path(self.reference))
        return "".join(part._fingerprint for part in self._loaded.values())

    @cached_property
    def _loaded(self) -> dict[str, Any]:
        """Each split, or the whole as `all`."""
        import datasets

        try:
            found = datasets.load_from_disk(self.reference) if Path(self.reference).is_dir() else datasets.load_dataset(self.reference)
        except Exception as error:
            # Readers of data and the network raise anything.
            said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise UserError(f"data.source.datasets: '{self.reference}' can't be loaded ({said})") from error
        parts = dict(found) if isinstance(found, dict) else {"all": found}
        if unknown := [split for split in parts if split not in _SPLITS and split != "all"]:
            raise UserError(f"{self.reference}: found the split '{unknown[0]}', expected some of {', '.join(_SPLITS)}")
        return parts

    def __len__(self) -> int:
        return sum(len(part) for part in self._loaded.values())

    @property
    def columns(self) -> list[str]:
        """The names of the features."""
        return list(next(iter(self._loaded.values())).features)

    def names(self, column: str) -> list[str] | None:
        """The names of a ClassLabel."""
        kind = next(iter(self._loaded.values())).features.get(column)
        return list(kind.names) if hasattr(kind, "names") else None

    @property
    def splits(self) -> list[str] | None:
        """The names of its splits, as this project calls them."""
        if "all" in self._loaded:
            return None
        return [_SPLITS[split] for split, part in self._loaded.items() for _ in range(len(part))]

    def parts(self, columns: list[str]) -> Iterator[list[Row]]:
        """See `Table.parts`."""
        for part in self._loaded.values():
            if missing := [column for column in columns if column not in part.features]:
                raise UserError(f"{self.reference}: found no column '{missing[0]}', expected one of {', '.join(part.features)}")
            labels = {column: self.names(column) for column in columns}
            for start in range(0, len(part), AT_ONCE):
                rows = part[start : start + AT_ONCE]
                yield list(zip(*(_texts(rows[column], labels[column]) for column in columns), strict=True))


def _texts(values: list[Any], names: list[str] | None) -> list[str | None]:
    if names is None:
        return [None if value is None else str(value) for value in values]
    # A ClassLabel has -1 where there is no label.
    return [None if value is None or value < 0 else names[value] for value in values]
