"""The file of a review: its pairs, its reviewers, and what they said. It stands alone, also when the run has changed since.

A judgement that was acknowledged is on the disk: SQLite writes ahead and syncs each commit, so neither a killed process nor a machine
that loses power takes it back. Nothing is overwritten: of several judgements of a reviewer on a pair the last one counts.
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from edgedistill.errors import DamagedFile, UserError
from edgedistill.gate.review.pairs import Pair

_SCHEMA = "edgedistill/reviews/1"
_TABLES = """
CREATE TABLE IF NOT EXISTS about (facts TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS pairs (number INTEGER PRIMARY KEY, sample INTEGER, prompt TEXT, image BLOB, reference TEXT, candidate TEXT);
CREATE TABLE IF NOT EXISTS reviewers (name TEXT PRIMARY KEY, token TEXT UNIQUE NOT NULL);
CREATE TABLE IF NOT EXISTS judgements (
    number INTEGER PRIMARY KEY AUTOINCREMENT, reviewer TEXT NOT NULL REFERENCES reviewers, pair INTEGER NOT NULL REFERENCES pairs,
    choices TEXT NOT NULL, note TEXT NOT NULL, seconds REAL NOT NULL, candidate_first INTEGER NOT NULL, created TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS of_reviewer ON judgements (reviewer, pair);
"""
_WAIT_S = 30.0
"""How long a write waits for another process that writes."""


@dataclass(frozen=True)
class About:
    """What a review is about."""

    run: str
    reference: str
    candidate: str
    rubric: str
    seed: int
    answers: int
    """Samples that both answered."""
    differing: int
    """Those of them with two different answers."""
    drawn_from: int | None = None
    """Those of them that the pairs were drawn of; None for all."""


@dataclass(frozen=True)
class Judgement:
    """What a reviewer said of a pair."""

    reviewer: str
    pair: int
    choices: dict[str, str]
    """`candidate`, `reference` or `same`, by the name of the criterion; `neither` or `both` in place of `same` of an absolute one."""
    note: str
    seconds: float
    """From when the pair was shown until it was judged."""
    candidate_first: bool
    created: str = ""
    """UTC; given when it is added."""


class Store:
    """The file of a review. Several threads may use it.

    about, pairs: of a new one; without them the file has to be there. Raises DamagedFile for a file that is none.
    """

    def __init__(self, path: Path, about: About | None = None, pairs: Sequence[Pair] = ()) -> None:
        self.path, self._lock = path, threading.Lock()
        if about is None and not path.is_file():
            raise DamagedFile(path, "is missing")
        path.parent.mkdir(parents=True, exist_ok=True)
        # The tokens of reviewers are in it.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self._database = sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False)
        try:
            self._database.execute("PRAGMA journal_mode = WAL")
            # With WAL the usual level syncs at checkpoints only.
            self._database.execute("PRAGMA synchronous = FULL")
            if about is not None:
                self._begin(about, pairs)
            (facts,) = self._database.execute("SELECT facts FROM about").fetchone()
            told = json.loads(facts)
            if told.pop("schema") != _SCHEMA:
                raise DamagedFile(path, "is a review of another version of edgedistill")
            self.about = About(**told)
        except (sqlite3.DatabaseError, TypeError, ValueError, KeyError) as error:
            self._database.close()
            if isinstance(error, DamagedFile):
                raise
            raise DamagedFile(path, f"is no review of edgedistill, or it is damaged ({error})") from error

    def _begin(self, about: About, pairs: Sequence[Pair]) -> None:
        """Write what is compared, unless it is there already: then it stays."""
        self._database.executescript(_TABLES)
        with self._writing() as database:
            if database.execute("SELECT 1 FROM about").fetchone() is None:
                rows = [(number, p.sample, p.prompt, p.image, p.reference, p.candidate) for number, p in enumerate(pairs)]
                database.executemany("INSERT INTO pairs VALUES (?, ?, ?, ?, ?, ?)", rows)
                database.execute("INSERT INTO about VALUES (?)", [json.dumps({"schema": _SCHEMA, **asdict(about)})])

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it is on the disk when the block ends, or nothing."""
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                self._database.execute("ROLLBACK")
                raise

    def _rows(self, query: str, *values: object) -> list[tuple]:
        with self._lock:
            return self._database.execute(query, values).fetchall()

    def pairs(self) -> list[Pair]:
        """All pairs in the order of their numbers."""
        return [Pair(*row) for row in self._rows("SELECT sample, prompt, image, reference, candidate FROM pairs ORDER BY number")]

    def link(self, reviewer: str) -> str:
        """The token of a reviewer, who is added where the name is new."""
        if not reviewer.strip() or len(reviewer) > 80 or not reviewer.isprintable():
            raise UserError(f"--reviewer: found {reviewer!r}, expected a name of 1 to 80 printable characters")
        with self._writing() as database:
            database.execute("INSERT OR IGNORE INTO reviewers VALUES (?, ?)", [reviewer, secrets.token_urlsafe(24)])
        return self.tokens()[reviewer]

    def tokens(self) -> dict[str, str]:
        """The token of each reviewer."""
        return dict(self._rows("SELECT name, token FROM reviewers ORDER BY name"))

    def add(self, judgement: Judgement) -> None:
        """Keep a judgement; it is on the disk when this returns."""
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        row = [judgement.reviewer, judgement.pair, json.dumps(judgement.choices), judgement.note, judgement.seconds]
        with self._writing() as database:
            database.execute(
                "INSERT INTO judgements (reviewer, pair, choices, note, seconds, candidate_first, created) VALUES (?, ?, ?, ?, ?, ?, ?)",
                [*row, judgement.candidate_first, created],
            )

    def judgements(self, reviewer: str | None = None) -> list[Judgement]:
        """The last judgement of each reviewer, or of one, on each pair."""
        rows = self._rows(
            "SELECT reviewer, pair, choices, note, seconds, candidate_first, created FROM judgements WHERE number IN "
            "(SELECT max(number) FROM judgements WHERE ?1 IS NULL OR reviewer = ?1 GROUP BY reviewer, pair) ORDER BY reviewer, pair",
            reviewer,
        )
        return [Judgement(r[0], r[1], json.loads(r[2]), r[3], r[4], bool(r[5]), r[6]) for r in rows]

    def judged(self, reviewer: str) -> set[int]:
        """The pairs that a reviewer has judged."""
        return {pair for (pair,) in self._rows("SELECT DISTINCT pair FROM judgements WHERE reviewer = ?", reviewer)}

    def close(self) -> None:
        """Let the file go."""
        with self._lock:
            self._database.close()
