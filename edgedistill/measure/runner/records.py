"""Writes records: one JSON object per line, each flushed at once."""

import hashlib
import json
import os
import threading
from typing import Any, BinaryIO


class Recorder:
    """Appends records to `handle`, a binary file, and keeps the SHA-256 of everything written."""

    def __init__(self, handle: BinaryIO) -> None:
        self._handle, self._digest, self._count = handle, hashlib.sha256(), 0
        self._lock = threading.Lock()

    def write(self, record: str, /, **fields: Any) -> None:
        """Write one record of type `record`, and flush it, so that a crash cannot lose it. Several threads may write at once."""
        line = json.dumps({"type": record, **fields}, allow_nan=False).encode() + b"\n"
        with self._lock:
            self._handle.write(line)
            self._handle.flush()
            self._digest.update(line)
            self._count += 1

    def end(self, nonce: str) -> None:
        """Write the `end` record, by which the host checks that all records before it arrived unchanged."""
        self.write("end", nonce=nonce, records=self._count, sha256=self._digest.hexdigest())
        os.fsync(self._handle.fileno())
