"""Segments of a ledger: Parquet files of rows, which are written once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgedistill.errors import DamagedFile
from edgedistill.files import replacing
from edgedistill.teach.ledger.chain import COLUMNS, KINDS

if TYPE_CHECKING:
    import duckdb

ROWS = 1 << 20
"""Rows of a segment, unless a row more is of the same append: a segment is in memory when it is written and verified."""
_KINDS = "[" + ", ".join(f"'{kind}'" for kind in KINDS) + "]"
_NUMBERS = [name for name, _ in COLUMNS]
# Hashes do not compress. Numbers that rise, or are the same in many rows, take next to nothing in this version's encodings.
_OPTIONS = "FORMAT parquet, COMPRESSION uncompressed, PARQUET_VERSION V2"


def write(path: Path, columns: Mapping[str, np.ndarray], texts: Mapping[int, str], links: np.ndarray) -> None:
    """Write the rows of `columns` [n], see `chain.links`, with what is stored of their links, uint64 [n], to `path`."""
    import duckdb

    text = np.full(len(links), "", object)
    for place, value in texts.items():
        text[place] = value
    values = ", ".join(f"{_KINDS}[kind + 1] AS kind" if name == "kind" else name for name in _NUMBERS)
    with replacing(path) as temporary, duckdb.connect() as connection:
        connection.register("given", {**{name: np.asarray(columns[name], kind) for name, kind in COLUMNS}, "text": text, "link": links})
        connection.execute(f"COPY (SELECT {values}, text, link FROM given) TO '{_quoted(temporary)}' ({_OPTIONS})")


def read(path: Path) -> tuple[dict[str, np.ndarray], dict[int, str], np.ndarray]:
    """The columns, texts and stored links of a segment, as `write` takes them. Raises DamagedFile where it is no such file."""
    values = ", ".join(f"list_position({_KINDS}, kind) - 1 AS kind" if name == "kind" else name for name in _NUMBERS)
    with connected([path]) as connection:
        columns = connection.execute(f"SELECT {values}, link FROM ledger").fetchnumpy()
        # Only rows that are no examples have a text, and there are few of them.
        texts = connection.execute("SELECT place, text FROM (SELECT row_number() OVER () - 1 AS place, text FROM ledger) WHERE text <> ''")
        found = {int(place): str(text) for place, text in texts.fetchall()}
    if strange := [name for name, value in columns.items() if isinstance(value, np.ma.MaskedArray) and value.mask.any()]:
        raise DamagedFile(path, f"is damaged: {', '.join(strange)} of some rows is not there")
    whole = {name: np.asarray(value) for name, value in columns.items()}
    return whole, found, whole.pop("link")


@contextmanager
def connected(paths: Sequence[Path]) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to DuckDB with the rows of the segments `paths` as the view `ledger`. DamagedFile for what cannot be read of them."""
    import duckdb

    listed = ", ".join(f"'{_quoted(path)}'" for path in paths)
    try:
        with duckdb.connect() as connection:
            connection.execute(f"CREATE VIEW ledger AS SELECT * FROM read_parquet([{listed}])")
            yield connection
    except (duckdb.Error, UnicodeDecodeError, OverflowError) as error:
        raise DamagedFile(paths[0], f"or a segment behind it can't be read ({str(error).splitlines()[0]})") from error


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def select(paths: Sequence[Path], query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """The rows of a query on the view `ledger`; none where there are no segments."""
    if not paths:
        return []
    with connected(paths) as connection:
        return connection.execute(query, list(values)).fetchall()
