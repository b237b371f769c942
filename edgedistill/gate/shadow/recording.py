"""Counts the exchanges of a proxy that were written as traces."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgedistill.records.shadow import Recorded


class Recording:
    """What becomes of exchanges that are offered for `path`. scrubbed: whether personal data are replaced."""

    def __init__(self, path: Path, *, scrubbed: bool) -> None:
        self._path, self._scrubbed = path, scrubbed
        self._written = self._dropped = 0
        self._not_written = Counter[str]()
        self._lock = threading.Lock()

    def add(self, identity: str, found: Mapping[str, Any], ms: float | None) -> None:
        """Count what the process that writes said of an exchange."""
        with self._lock:
            if "written" in found:
                self._written += 1
            else:
                self._not_written[found.get("left_out") or found["no_answer"]] += 1

    def drop(self) -> None:
        """Count an exchange that the process was too busy for."""
        with self._lock:
            self._dropped += 1

    def told(self) -> Recorded:
        """The counts so far."""
        with self._lock:
            counts = {"written": self._written, "not_written": dict(self._not_written), "dropped": self._dropped}
            return Recorded(path=str(self._path), scrubbed=self._scrubbed, **counts)
