"""A sample of exchanges for people: uniform at any time, of a stream of unknown length."""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgedistill.files import reading, write_text

KINDS = ("random", "disagreement")
"""Of all exchanges, for a rate; and of those that disagree, to see what goes wrong."""


class People:
    """Keeps `most` exchanges of each kind in a file of JSON lines: those whose identities have the smallest hashes.

    They are a uniform sample without replacement of those seen so far, whatever their order (bottom-k sampling, Cohen and Kaplan 2007,
    "Summarizing data using bottom-k sketches", PODC, 225-234). A later process goes on with what is in the file.
    """

    def __init__(self, path: Path, most: int) -> None:
        self.path, self._most = path, most
        # Heaps of (-hash, line): the largest hash comes first.
        self._kept: dict[str, list[tuple[int, str]]] = {kind: [] for kind in KINDS}
        if path.exists():
            with reading(path):
                for line in path.read_text(encoding="utf-8").splitlines():
                    row = json.loads(line)
                    self._keep(row["sample"], row["id"], line)

    def add(self, identity: str, row: Mapping[str, Any], *, agrees: bool) -> None:
        """Offer an exchange, as JSON has it; the file changes where the sample takes it."""
        taken = [
            self._keep(kind, identity, json.dumps({"id": identity, "sample": kind, **row}, ensure_ascii=False))
            for kind in (KINDS[:1] if agrees else KINDS)
        ]
        if any(taken):
            write_text(self.path, "".join(f"{line}\n" for kind in KINDS for _, line in sorted(self._kept[kind], reverse=True)))

    def _keep(self, kind: str, identity: str, line: str) -> bool:
        entry = -int.from_bytes(hashlib.sha256(f"{kind} {identity}".encode()).digest()[:8], "big"), line
        kept = self._kept[kind]
        if len(kept) < self._most:
            heapq.heappush(kept, entry)
            return True
        return self._most > 0 and heapq.heappushpop(kept, entry) is not entry
