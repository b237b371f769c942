"""Writes exchanges as traces: `python -m edgedistill.steps.shadow_record JOB.json`.

It prints a JSON object a line, as `steps.shadow_file` does: {"ready": ...} or {"mistake": text}, then for each exchange
{"written": true} or {"left_out": why}. An exchange whose personal data could not be looked for is not written.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgedistill import tasks
from edgedistill.errors import UserError
from edgedistill.files import read_json
from edgedistill.recipe.scrub import Scrub
from edgedistill.steps.telling import Say, telling
from edgedistill.tasks.shadowed import NotComparable
from edgedistill.teach.scrub.scrubbing import NotScanned, Scrubbing


class Writing:
    """A file of traces that grows. scrub: how personal data are replaced; None leaves texts as they are."""

    def __init__(self, path: Path, task: str, scrub: Scrub | None) -> None:
        self._task = tasks.task(task)
        self._scrubbing = None if scrub is None else Scrubbing(scrub)
        if self._scrubbing is not None:
            # Engines load with the first text, and tell then what is missing.
            self._scrubbing.text("")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # It holds what users wrote.
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise UserError(f"--record: {path} can't be written ({error.strerror}); name another file") from error
        _cut(self._file)

    def __call__(self, seen: Mapping[str, Any]) -> dict[str, Any]:
        """What is printed of an exchange."""
        try:
            row = self._task.recorded(seen)
            if self._scrubbing is not None:
                row = {name: self._scrubbing.value(value, name) for name, value in row.items()}
        except NotComparable as reason:
            return {"left_out": str(reason)}
        except NotScanned as error:
            return {"left_out": f"not scanned for personal data ({error})"}
        line = json.dumps({**row, "ms": seen["ms"]}, ensure_ascii=False)
        data = memoryview(f"{line}\n".encode())
        while data:
            data = data[os.write(self._file, data) :]
        return {"written": True}


def _cut(file: int) -> None:
    """Cut off a line that a process was killed in."""
    size = os.fstat(file).st_size
    if size and os.pread(file, 1, size - 1) != b"\n":
        with open(file, "rb", closefd=False) as whole:
            whole.seek(0)
            size = sum(len(line) for line in whole if line.endswith(b"\n"))
        os.ftruncate(file, size)


def _write(job: Path, say: Say) -> None:
    told = read_json(job)
    write = Writing(Path(told["path"]), told["task"], None if told["scrub"] is None else Scrub(**told["scrub"]))
    say({"ready": {}})
    for line in sys.stdin.buffer:
        say(write(json.loads(line)))


if __name__ == "__main__":
    sys.exit(telling(lambda say: _write(Path(sys.argv[1]), say)))
