"""Writing the records: one JSON object a line, on disk as soon as it happened."""

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
        """Write one record of type `record`, and flush it so that a crash right after cannot lose it; threads may write at once."""
        line = json.dumps({"type": record, **fields}, allow_nan=False).encode() + b"\n"
        with self._lock:
            self._handle.write(line)
            self._handle.flush()
            self._digest.update(line)
            self._count += 1

    def end(self, nonce: str) -> None:
        """Write the `end` record, which proves to the host that every record before it arrived as it was written."""
        self.write("end", nonce=nonce, records=self._count, sha256=self._digest.hexdigest())
        os.fsync(self._handle.fileno())
