"""The record of all answers that were paid, in one SQLite file. Rows are only added: none is changed, or removed but by `erase`."""

import fcntl
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edgedistill import storage
from edgedistill.errors import DamagedFile, EdgeDistillError, StorageFailed, UserError
from edgedistill.files import canonical_hash
from edgedistill.tasks.causal_lm.answers.asking import Answer, Usage

_VERSION = 1
_WAIT_S = 30.0
_TABLES = (
    # What answers were asked with, and by what they were judged: JSON by its hash.
    "CREATE TABLE settings (hash TEXT PRIMARY KEY, document TEXT NOT NULL) STRICT",
    """CREATE TABLE answers (
        id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, sample INTEGER NOT NULL, model TEXT NOT NULL, sampling TEXT NOT NULL,
        complete INTEGER NOT NULL, text TEXT NOT NULL, finish_reason TEXT, prompt_tokens INTEGER, completion_tokens INTEGER,
        estimated INTEGER NOT NULL, latency_s REAL NOT NULL, time TEXT NOT NULL, source TEXT NOT NULL, top_logprobs TEXT
    ) STRICT""",
    # The database itself refuses a second complete answer.
    "CREATE UNIQUE INDEX complete_once ON answers (model, sampling, key, sample) WHERE complete",
    """CREATE TABLE verdicts (
        id INTEGER PRIMARY KEY AUTOINCREMENT, answer INTEGER NOT NULL REFERENCES answers (id), checks TEXT NOT NULL, dropped TEXT
    ) STRICT""",
    "CREATE INDEX verdicts_by_answer ON verdicts (checks, answer)",
    """CREATE TABLE collections (
        id INTEGER PRIMARY KEY AUTOINCREMENT, model TEXT NOT NULL, sampling TEXT NOT NULL, samples INTEGER NOT NULL, checks TEXT NOT NULL,
        time TEXT NOT NULL
    ) STRICT""",
)
_COLUMNS = "key, sample, text, complete, finish_reason, prompt_tokens, completion_tokens, estimated, latency_s, time, source, top_logprobs"
_CAUSES = {
    "SQLITE_BUSY": f"another process has been writing to it for more than {_WAIT_S:.0f} s; wait for it to end",
    "SQLITE_CANTOPEN": "check that its folder exists, and the permissions of both",
}
_DAMAGED = ("SQLITE_NOTADB", "SQLITE_CORRUPT")
_OF_THE_DISK = {"SQLITE_FULL": "the disk is full; free some space there", "SQLITE_READONLY": "it can't be written; check its permissions"}


def now() -> str:
    """This moment, as records have it: UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True)
class Collection:
    """What one collection asked and how it judged; `sampling` and `checks` are hashes of settings."""

    model: str
    sampling: str
    samples: int
    checks: str


@dataclass(frozen=True)
class Spent:
    """What the attempts of a model cost: all of them, and those that were cut off."""

    answers: int
    partial: int
    prompt_tokens: int
    completion_tokens: int
    """Of broken attempts at least as many as arrived."""
    uncounted: int
    """Attempts for which a number of tokens is not known; they are not in the sums."""


class Ledger:
    """An open ledger. Several processes may read it; one may collect into it."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self.path = path

    def keep_settings(self, value: dict[str, Any]) -> str:
        """Store settings, if they are new; returns their hash."""
        name = canonical_hash(value)
        with _told(self.path):
            self._connection.execute("INSERT OR IGNORE INTO settings VALUES (?, ?)", (name, json.dumps(value, sort_keys=True)))
        return name

    def settings(self, name: str) -> dict[str, Any]:
        """The settings with a hash."""
        with _told(self.path):
            row = self._connection.execute("SELECT document FROM settings WHERE hash = ?", (name,)).fetchone()
        return json.loads(row[0])  # type: ignore[no-any-return]

    def append(self, answer: Answer, model: str, sampling: str) -> None:
        """Record an answer; it is on the disk when this returns. Raises ValueError for a second complete one."""
        values = (
            answer.key, answer.sample, _storable(answer.text), answer.complete, answer.finish_reason, answer.usage.prompt,
            answer.usage.completion, answer.usage.estimated, answer.latency_s, answer.time, answer.source,
            None if answer.top_logprobs is None else json.dumps(answer.top_logprobs), model, sampling,
        )  # fmt: skip
        marks = ", ".join("?" * len(values))
        with _told(self.path):
            try:
                self._connection.execute(f"INSERT INTO answers ({_COLUMNS}, model, sampling) VALUES ({marks})", values)
            except sqlite3.IntegrityError as error:
                raise ValueError(f"{answer.key}, sample {answer.sample}, is answered already") from error

    def answered(self, model: str, sampling: str) -> set[tuple[str, int]]:
        """Key and sample of each complete answer."""
        where = "WHERE complete AND model = ? AND sampling = ?"
        with _told(self.path):
            return set(self._connection.execute(f"SELECT key, sample FROM answers {where}", (model, sampling)))

    def of_prompt(self, key: str, model: str, sampling: str, samples: int) -> list[tuple[int, Answer]]:
        """The complete answers of a prompt with numbers below `samples`, in their order, each with its id."""
        where = "WHERE complete AND model = ? AND sampling = ? AND key = ? AND sample < ? ORDER BY sample"
        with _told(self.path):
            rows = self._connection.execute(f"SELECT id, {_COLUMNS} FROM answers {where}", (model, sampling, key, samples)).fetchall()
        return [(row[0], _answer(row[1:])) for row in rows]

    def judge(self, checks: str, verdicts: Iterable[tuple[int, str | None]]) -> None:
        """Record for each answer, by its id, why it is dropped, or None if it is kept. The latest verdict counts."""
        rows = [(answer, checks, dropped) for answer, dropped in verdicts if self.verdict(answer, checks) != (dropped,)]
        with _told(self.path), self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany("INSERT INTO verdicts (answer, checks, dropped) VALUES (?, ?, ?)", rows)

    def verdict(self, answer: int, checks: str) -> tuple[str | None] | None:
        """The latest verdict of an answer: why it was dropped, or None for kept; None alone if it was not judged."""
        with _told(self.path):
            query = "SELECT dropped FROM verdicts WHERE checks = ? AND answer = ? ORDER BY id DESC LIMIT 1"
            return self._connection.execute(query, (checks, answer)).fetchone()  # type: ignore[no-any-return]

    def finish(self, collection: Collection) -> None:
        """Record that a collection has judged all its answers: it becomes the latest."""
        values = (collection.model, collection.sampling, collection.samples, collection.checks, now())
        with _told(self.path):
            self._connection.execute("INSERT INTO collections (model, sampling, samples, checks, time) VALUES (?, ?, ?, ?, ?)", values)

    def latest(self) -> Collection | None:
        """The collection that was judged last."""
        with _told(self.path):
            query = "SELECT model, sampling, samples, checks FROM collections ORDER BY id DESC LIMIT 1"
            row = self._connection.execute(query).fetchone()
        return None if row is None else Collection(*row)

    def kept(self, collection: Collection) -> Iterator[tuple[int, Answer]]:
        """The answers whose latest verdict is to be kept, by key and sample, each with its id."""
        columns = ", ".join(f"answers.{name}" for name in _COLUMNS.split(", "))
        query = f"""SELECT answers.id, {columns} FROM answers JOIN verdicts ON verdicts.id = (
                SELECT max(id) FROM verdicts WHERE checks = ? AND answer = answers.id
            ) WHERE answers.model = ? AND answers.sampling = ? AND sample < ? AND dropped IS NULL ORDER BY key, sample"""
        values = (collection.checks, collection.model, collection.sampling, collection.samples)
        with _told(self.path):
            for row in self._connection.execute(query, values):
                yield row[0], _answer(row[1:])

    def spent(self, model: str) -> Spent:
        """What all attempts of a model cost, the broken ones too.

        The server counts the tokens of a prompt at the end of an answer. For an attempt that broke, those of a complete answer to the same
        prompt are taken.
        """
        query = """WITH paid AS (
                SELECT complete, completion_tokens AS written, coalesce(prompt_tokens, (
                    SELECT max(same.prompt_tokens) FROM answers AS same
                    WHERE same.model = answers.model AND same.sampling = answers.sampling AND same.key = answers.key AND same.complete
                )) AS read FROM answers WHERE model = ?
            ) SELECT count(*) FILTER (WHERE complete), count(*) FILTER (WHERE NOT complete), coalesce(sum(read), 0),
                coalesce(sum(written), 0), count(*) FILTER (WHERE read IS NULL OR written IS NULL) FROM paid"""
        with _told(self.path):
            return Spent(*self._connection.execute(query, (model,)).fetchone())

    def prompts(self) -> list[str]:
        """The key of each prompt."""
        with _told(self.path):
            return [key for (key,) in self._connection.execute("SELECT DISTINCT key FROM answers")]

    def erase(self, keys: Sequence[str]) -> int:
        """Remove all answers to the prompts `keys`, so that no byte of them stays in the file; how many there were."""
        if not keys:
            return 0
        with _told(self.path):
            self._connection.execute("PRAGMA secure_delete = ON")
            with self._connection:
                self._connection.execute("BEGIN IMMEDIATE")
                of_key = [(key,) for key in keys]
                self._connection.executemany("DELETE FROM verdicts WHERE answer IN (SELECT id FROM answers WHERE key = ?)", of_key)
                count = self._connection.executemany("DELETE FROM answers WHERE key = ?", of_key).rowcount
            # What was deleted is still in the log and may be in free pages.
            self._connection.execute("VACUUM")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return count

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Reserve the ledger for this process, since two that ask for the same answers pay twice. Raises UserError if it is in use."""
        with open(self.path.with_name(f"{self.path.name}.lock"), "a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UserError(f"another process collects answers into {self.path}; wait for it to end") from error
            yield


@contextmanager
def opened(path: Path) -> Iterator[Ledger]:
    """The ledger in the file `path`, which is made if there is none.

    Raises DamagedFile if the file is something else, UserError if it was made by a newer version or is in use for too long, StorageFailed
    if it can't be written.
    """
    with _told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None)
    with closing(connection):
        with _told(path):
            # A killed writer leaves no part of a record, and with FULL neither does a power cut: what was paid is synced.
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            _make_tables(connection, path)
        yield Ledger(connection, path)


def _make_tables(connection: sqlite3.Connection, path: Path) -> None:
    if connection.execute("PRAGMA user_version").fetchone()[0] == _VERSION:
        return
    with connection:
        # Read again: another process may have been first.
        connection.execute("BEGIN IMMEDIATE")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > _VERSION:
            raise UserError(f"{path} has tables of version {version}, expected {_VERSION}: a newer edgedistill made it; update edgedistill")
        if version == 0:
            if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                raise DamagedFile(path, "is the database of another program, expected a ledger of answers; name another file")
            for statement in _TABLES:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {_VERSION}")


def _answer(row: tuple[Any, ...]) -> Answer:
    key, sample, text, complete, finish_reason, prompt, completion, estimated, latency_s, time, source, top_logprobs = row
    return Answer(
        key=key, sample=sample, text=text, complete=bool(complete), finish_reason=finish_reason,
        usage=Usage(prompt, completion, bool(estimated)), latency_s=latency_s, time=time, source=source,
        top_logprobs=None if top_logprobs is None else json.loads(top_logprobs),
    )  # fmt: skip


def _storable(text: str) -> str:
    """`text` as UTF-8 can hold it: half of a surrogate pair, which JSON may carry, becomes U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Convert the errors of SQLite and of the disk to ours."""
    try:
        yield
    except EdgeDistillError:
        raise
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "")
        if name.startswith(_DAMAGED):
            raise DamagedFile(path, f"is damaged, or no ledger of answers ({error}); move it away, and all is asked anew") from error
        if failed := next((text for prefix, text in _OF_THE_DISK.items() if name.startswith(prefix)), None):
            raise StorageFailed(f"{path}: {failed}. What was recorded stays, and the same command continues") from error
        if cause := next((text for prefix, text in _CAUSES.items() if name.startswith(prefix)), None):
            raise UserError(f"{path}: {error}; {cause}") from error
        raise
    except OSError as error:
        if failure := storage.failure_of(error, path):
            raise failure from error
        raise
