"""Stores the measurements of a project, with their raw records, in one SQLite file that several processes may write to."""

import json
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from edgedistill import storage
from edgedistill.errors import StorageFailed, UserError
from edgedistill.records.comparisons import InterleavedComparison
from edgedistill.records.measurements import Measured, Measurement
from edgedistill.records.stored import Stored, StoredMeasurement

PATH = Path(".edgedistill", "measurements.db")
FILTERS = ("device", "file", "kind", "name", "validity")
_WAIT_S = 30.0
_MIGRATIONS = (
    # 1
    (
        """CREATE TABLE measurements (
            id INTEGER PRIMARY KEY AUTOINCREMENT, created TEXT NOT NULL, kind TEXT NOT NULL, device TEXT NOT NULL, file TEXT NOT NULL,
            validity TEXT NOT NULL, name TEXT, document TEXT NOT NULL
        ) STRICT""",
        """CREATE TABLE raw (
            measurement INTEGER PRIMARY KEY REFERENCES measurements (id) ON DELETE CASCADE, records BLOB NOT NULL
        ) STRICT""",
        "CREATE INDEX measurements_by_name ON measurements (name)",
    ),
)
"""The statements that migrate a file from one version of its tables to the next. `PRAGMA user_version` has the version. Append only."""
_CAUSES = {
    "SQLITE_FULL": "the disk is full; free some space and measure again. What was stored before is whole",
    "SQLITE_BUSY": f"another process has been writing to it for more than {_WAIT_S:.0f} s; wait for it to end",
    "SQLITE_NOTADB": "it is not an SQLite file; move it away, and a new one will be created",
    "SQLITE_CORRUPT": "it is damaged; move it away, and a new one will be created (`sqlite3 FILE .recover` saves what can be read)",
    "SQLITE_READONLY": "it can't be written to; check the permissions of it and of its folder",
    "SQLITE_CANTOPEN": "it can't be opened; check the permissions of it and of its folder",
}
_OF_THE_DISK = ("SQLITE_FULL", "SQLITE_READONLY")
_STORED: TypeAdapter[Stored] = TypeAdapter(Stored)


@contextmanager
def opened(path: Path = PATH) -> Iterator["Store"]:
    """The store in the file `path`, which is created if missing.

    Raises UserError, also inside the block, if the file is not a store, was made by a newer version or is in use for too long, and
    StorageFailed if the disk is full or the file can't be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if failure := storage.failure_of(error, path.parent):
            raise failure from error
        raise UserError(f"{path.parent} can't be created: {error.strerror}; measurements are stored there") from error
    with _as_user_error(path), closing(sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None)) as connection:
        # In this mode readers do not wait for a writer, and a killed writer leaves no partial change.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        _migrate(connection, path)
        yield Store(connection)


class Store:
    """An open file of measurements. Nothing is ever changed or removed: a name that is used again refers to the newest."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def save(self, measurement: Measured, records: bytes, name: str | None = None) -> int:
        """Store a measurement with its raw records (JSON lines), both or neither; returns its id.

        name: the name of a baseline. Raises UserError for a name that could be an id.
        """
        if name is not None and (not name or name.isdigit()):
            raise UserError(f"found the name '{name}' for a measurement, expected one with a letter: numbers alone are ids")
        row = (
            measurement.created,
            measurement.kind,
            measurement.device.spec,
            _file(measurement),
            measurement.validity,
            name,
            json.dumps(measurement.model_dump(mode="json"), allow_nan=False),
        )
        with _transaction(self._connection):
            columns = "created, kind, device, file, validity, name, document"
            new_id = self._connection.execute(f"INSERT INTO measurements ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)", row).lastrowid
            self._connection.execute("INSERT INTO raw VALUES (?, ?)", (new_id, zlib.compress(records)))
        return int(new_id or 0)

    def measurements(self, **filters: str | None) -> list[Stored]:
        """The measurements that match all `filters` (device, file, kind, name, validity; None matches all), oldest first.

        The name `main` also matches names below it, such as `main/local/student-int8.pte`.
        """
        where, values = ["TRUE"], list[str]()
        for key, value in filters.items():
            if key not in FILTERS:
                raise ValueError(f"found the filter {key}, expected one of {', '.join(FILTERS)}")
            if value is not None:
                below = " OR substr(name, 1, length(?) + 1) = ? || '/'" if key == "name" else ""
                where.append(f"({key} = ?{below})")
                values += [value] * (3 if below else 1)
        return self._read(" AND ".join(where), values)

    def get(self, which: int | str) -> Stored:
        """The measurement with an id, or the newest with exactly this name. Raises UserError when there is none."""
        by_id = isinstance(which, int) or which.isdigit()
        matching = self._read("id = ?" if by_id else "name = ?", [int(which) if by_id else which])
        if not matching:
            names = [row[0] for row in self._connection.execute("SELECT DISTINCT name FROM measurements WHERE name IS NOT NULL")]
            raise UserError(f"there is no measurement '{which}'; names are: {', '.join(sorted(names)) or 'none'}. List all with `results`")
        return matching[-1]

    def sessions(self, name: str, before: int | None = None) -> list[StoredMeasurement]:
        """The newest measurement with a name, and the earlier ones with that name of the same bytes and settings, oldest first.

        before: an id. Only earlier measurements count, so that a measurement is not compared with itself. Raises UserError if there is
        none.
        """
        every = [measurement for measurement in self._read("name = ?", [name]) if before is None or (measurement.id or 0) < before]
        named = [measurement for measurement in every if isinstance(measurement, StoredMeasurement)]
        if not named:
            raise UserError(f"there is no measurement '{name}' to compare with; save one with `bench --save NAME`")
        return [measurement for measurement in named if _subject(measurement) == _subject(named[-1])]

    def raw(self, which: int) -> bytes:
        """The raw records of a measurement, as its runner wrote them. Raises UserError when there is none."""
        row = self._connection.execute("SELECT records FROM raw WHERE measurement = ?", (which,)).fetchone()
        if row is None:
            raise UserError(f"there is no measurement {which}; list all with `results`")
        return zlib.decompress(row[0])

    def _read(self, where: str, values: Sequence[int | str]) -> list[Stored]:
        rows = self._connection.execute(f"SELECT id, name, document FROM measurements WHERE {where} ORDER BY id", values)
        return [_parsed(number, name, document) for number, name, document in rows]


def _parsed(number: int, name: str | None, document: str) -> Stored:
    try:
        return _STORED.validate_python({**json.loads(document), "id": number, "name": name})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(
            f"measurement {number} is none that this version reads: {where}: {first['msg']}. Another version stored it; read it with "
            "that version, or move the store away"
        ) from error


def _file(measurement: Measured) -> str:
    """The file that was measured; a comparison has two."""
    if isinstance(measurement, InterleavedComparison):
        return f"{measurement.a.artifact.name}, {measurement.b.artifact.name}"
    return measurement.artifact.name


def _subject(measurement: Measurement) -> tuple[object, ...]:
    return (
        measurement.artifact.sha256, measurement.device.model, measurement.build, measurement.adapter, measurement.threads,
        measurement.protocol.preset,
    )  # fmt: skip


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    if _version(connection) == len(_MIGRATIONS):
        return
    with _transaction(connection):
        # Read again: another process may have been first.
        version = _version(connection)
        if version > len(_MIGRATIONS):
            raise UserError(
                f"{path} has tables of version {version} and this edgedistill knows {len(_MIGRATIONS)}: a newer version made it; "
                "update edgedistill"
            )
        for step in _MIGRATIONS[version:]:
            for statement in step:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(_MIGRATIONS)}")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Run the block as one transaction. Other writers wait until it ends."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # A full disk may have ended the transaction already.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def _as_user_error(path: Path) -> Iterator[None]:
    """Convert SQLite's errors to ours."""
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "")
        if "unsupported file format" in str(error):
            name = "SQLITE_CORRUPT"
        cause = next((text for prefix, text in _CAUSES.items() if name.startswith(prefix)), None)
        if cause is None:
            raise
        kind = StorageFailed if name.startswith(_OF_THE_DISK) else UserError
        raise kind(f"{path}: {error}: {cause}") from error
    except UnicodeDecodeError as error:
        # SQLite names a table or a statement that is damaged.
        raise UserError(f"{path}: {_CAUSES['SQLITE_CORRUPT']}") from error
