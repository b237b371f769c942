"""A ledger in its folder: segments of rows, their list, and the key of its hashes."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from edgedistill import storage
from edgedistill.errors import DamagedFile
from edgedistill.files import read_json, reading, sha256_file, write_bytes, write_json
from edgedistill.teach.ledger import chain, segments
from edgedistill.teach.ledger.chain import COLUMNS, KINDS, NONE, START

FOLDER = ".ledger"
"""Its name in the folder of the runs that share it."""
SCHEMA = "edgedistill/ledger/1"
_KEY, _HEAD = "key", "head.json"


@dataclass(frozen=True)
class Segment:
    """A file of rows: the number of its first row, how many there are, its SHA-256, and the whole link of its last row."""

    file: str
    first: int
    rows: int
    sha256: str
    link: str


def now_ms() -> int:
    """Milliseconds since 1970, UTC."""
    return time.time_ns() // 1_000_000


class Ledger:
    """The ledger in `folder`, which is made by the first append. Several processes may read it; one appends at a time.

    Content is never in it. An example is known by BLAKE2b of its content (RFC 7693) with a key of 32 random bytes: without the key, nobody
    can try which short text a hash stands for. Whoever has the key can.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def head(self) -> Path:
        """The list of segments: what it does not name is not in the ledger."""
        return self.folder / _HEAD

    def exists(self) -> bool:
        """Whether anything was ever appended."""
        return self.head.exists()

    def segments(self) -> list[Segment]:
        """The segments in their order. Raises DamagedFile where their list is damaged."""
        if not self.exists():
            return []
        with reading(self.head):
            return [_listed(segment) for segment in read_json(self.head)["segments"]]

    def paths(self) -> list[Path]:
        """The files of the segments."""
        return [self.folder / segment.file for segment in self.segments()]

    def select(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows that a query on the view `ledger` gives, see `chain.COLUMNS`; `kind` and `text` are texts."""
        return segments.select(self.paths(), query, values)

    @cached_property
    def key(self) -> bytes:
        """The key of the hashes; it is made where there is no ledger yet. Raises DamagedFile where it is another than it was."""
        path = self.folder / _KEY
        if not self.exists():
            with self._locked():
                if not path.exists():
                    write_bytes(path, os.urandom(32))
                    path.chmod(0o600)
        with reading(path):
            key = path.read_bytes()
        if self.exists() and read_json(self.head).get("key") != self.key_hash(key):
            raise DamagedFile(path, "is not the key of this ledger: it was changed, and no example can be found by it")
        return key

    @staticmethod
    def key_hash(key: bytes) -> str:
        """What the list of segments says of the key."""
        return hashlib.sha256(SCHEMA.encode() + key).hexdigest()

    def identify(self, content: bytes) -> bytes:
        """The hash by which an example with that content is known, 16 bytes."""
        return hashlib.blake2b(content, key=self.key, digest_size=16).digest()

    @contextmanager
    def appending(self) -> Iterator[Writer]:
        """Append what the block gives to the writer: all of it, or nothing where the block raises."""
        _ = self.key
        with self._locked():
            writer = Writer(self)
            yield writer
            writer.close()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Wait until no other process writes to the ledger, and let none do so in the block."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with open(self.folder / "lock", "a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except OSError as error:
            if failure := storage.failure_of(error, self.folder):
                raise failure from error
            raise

    def write_head(self, listed: list[Segment]) -> None:
        """Write the list of segments, which makes them part of the ledger."""
        write_json(self.head, self.document(listed))

    def document(self, listed: list[Segment]) -> dict[str, Any]:
        """The list of segments as JSON has it."""
        return {"schema": SCHEMA, "key": self.key_hash(self.key), "segments": [vars(segment) for segment in listed]}


class Writer:
    """Takes rows, and writes a segment for each million of them."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger, self.listed = ledger, ledger.segments()
        last = self.listed[-1] if self.listed else None
        self._next, self._link = (0, START) if last is None else (last.first + last.rows, bytes.fromhex(last.link))
        self._parts: list[dict[str, np.ndarray]] = []
        self._texts: dict[int, str] = {}
        self._waiting = 0

    def note(self, kind: str, value: Mapping[str, Any], *, about: int = NONE, example: bytes = bytes(16)) -> int:
        """Append a row that has a text, the JSON of `value`; its number."""
        self._texts[self._waiting] = as_text(value)
        number = self._next + self._waiting
        none = np.full(1, NONE)
        self._add(kind, about, np.frombuffer(example, ">u8").reshape(1, 2), none, none, now_ms())
        return number

    def examples(self, about: int, examples: np.ndarray, place: np.ndarray, split: np.ndarray, time_ms: np.ndarray | int) -> None:
        """Append a row for each example, see `chain.COLUMNS`. examples: big-endian halves of their hashes, uint64 [n, 2]."""
        for start in range(0, len(place), segments.ROWS):
            part = slice(start, start + segments.ROWS)
            when = time_ms if isinstance(time_ms, int) else time_ms[part]
            self._add("example", about, examples[part], place[part], split[part], when)

    def _add(self, kind: str, about: int, example: np.ndarray, place: np.ndarray, split: np.ndarray, time_ms: np.ndarray | int) -> None:
        count = len(place)
        values = {
            "row": np.arange(count) + self._next + self._waiting, "kind": KINDS.index(kind), "split": split, "about": about, "place": place,
            "time_ms": time_ms, "example_high": example[:, 0], "example_low": example[:, 1],
        }  # fmt: skip
        self._parts.append({name: np.broadcast_to(np.asarray(values[name], type_), count) for name, type_ in COLUMNS})
        self._waiting += count
        if self._waiting >= segments.ROWS:
            self._flush()

    def _flush(self) -> None:
        columns = {name: np.concatenate([part[name] for part in self._parts]) for name, _ in COLUMNS}
        links = chain.links(columns, self._texts, self._link)
        path = self._ledger.folder / f"{self._next:012d}.parquet"
        segments.write(path, columns, self._texts, chain.stored(links))
        self._link = links[-1].tobytes()
        self.listed.append(Segment(path.name, self._next, len(links), sha256_file(path), self._link.hex()))
        self._next += len(links)
        self._parts, self._texts, self._waiting = [], {}, 0

    def close(self) -> None:
        """Write what is left, and make all of it part of the ledger."""
        if self._waiting:
            self._flush()
        self._ledger.write_head(self.listed)


def _listed(value: dict[str, Any]) -> Segment:
    """A segment of the list. Raises ValueError where it is none."""
    segment = Segment(**value)
    bytes.fromhex(segment.link)
    if not (isinstance(segment.first, int) and isinstance(segment.rows, int)):
        raise ValueError(f"found {segment.first} and {segment.rows}, expected numbers of rows")
    return segment


def as_text(value: Mapping[str, Any]) -> str:
    """The text of a row: equal values give equal texts."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def halves(examples: Sequence[bytes]) -> np.ndarray:
    """Hashes of 16 bytes as rows have them, uint64 [n, 2]."""
    return np.frombuffer(b"".join(examples), ">u8").reshape(-1, 2).astype(np.uint64)
