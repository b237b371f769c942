"""The chain of hashes over the rows of a ledger: each link covers a row and the link before it, and so all rows before."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

KINDS = ("set", "example", "used", "removed")
"""What a row can be. `set` describes examples, `example` is one of a set, `used` is a run that learned a set, `removed` is a deletion."""
NONE = -1
"""In `split`, `about` and `place`: there is none."""
COLUMNS = (
    ("row", "<i8"), ("kind", "<i1"), ("split", "<i1"), ("about", "<i8"), ("place", "<i8"), ("time_ms", "<i8"), ("example_high", "<u8"),
    ("example_low", "<u8"),
)  # fmt: skip
"""The numbers of a row and their types. `about`: the row of the set. `place`: the number of the example among the samples of its run.
`time_ms`: since 1970, UTC. The two halves of `example` are a keyed hash of its content."""
START = bytes(32)
"""What stands for the link before the first row."""


def links(columns: Mapping[str, np.ndarray], texts: Mapping[int, str], before: bytes) -> np.ndarray:
    """The link of each row, uint8 [n, 32]: SHA-256 of the link before it, the numbers of the row, and its text in UTF-8.

    columns: [n] by the names of `COLUMNS`. texts: of the rows that have one, by their place in the columns. before: the link of the row
    before these.
    """
    rows = np.empty(len(columns["row"]), list(COLUMNS))
    for name, _ in COLUMNS:
        rows[name] = columns[name]
    data, size, sha256, found = rows.tobytes(), rows.itemsize, hashlib.sha256, []
    for place in range(len(rows)):
        content = before + data[place * size : (place + 1) * size]
        before = sha256(content + texts[place].encode() if place in texts else content).digest()
        found.append(before)
    return np.frombuffer(b"".join(found), np.uint8).reshape(-1, len(START))


def stored(found: np.ndarray) -> np.ndarray:
    """What a row keeps of its link, uint64 [n]: the first 8 bytes. The link of a segment's last row is kept whole, so that forging a
    ledger means to find a second preimage of SHA-256; the 8 bytes say which row it is that does not fit."""
    return np.ascontiguousarray(found[:, :8]).view("<u8")[:, 0]
