"""A process that is asked about one exchange after the other, such as the student's, and is started again when it crashes."""

from __future__ import annotations

import base64
import json
import os
import selectors
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgedistill import child
from edgedistill.errors import DeviceFailed, UserError
from edgedistill.measure.runner import bounded

_START_S = 600.0
"""How long it may load."""
_CHUNK = 1 << 16
PAUSES_S = (0.0, 1.0, 5.0, 30.0, 60.0)
"""Waits before the next start, by how many answers have failed in a row; then the last one."""


@dataclass(frozen=True)
class Exchange:
    """A request with the teacher's answer, as bytes of the wire. ms: what the answer took; None where nobody measured it."""

    id: str
    request: bytes
    response: bytes
    type: str = "application/json"
    encoding: str = ""
    ms: float | None = None

    def told(self) -> dict[str, Any]:
        """What the student's process reads of it."""
        return {
            "request": self.request.decode("utf-8", "replace"), "response": base64.b64encode(self.response).decode(), "type": self.type,
            "encoding": self.encoding, "ms": self.ms,
        }  # fmt: skip


class _Ended(Exception):
    """The process crashed, hung or talked nonsense; the message says which."""


class Student:
    """A process of `module` with the arguments `job`, which prints {"ready": ...} and then a line for each line that it reads.

    folder: gets what it prints to stderr. timeout_s: how long an answer may take. restarted: called when it is started again.
    pauses_s: see PAUSES_S. `ask` is called by one thread, after `start`.
    """

    def __init__(
        self, module: str, job: Path, folder: Path, *, timeout_s: float, pauses_s: Sequence[float] = PAUSES_S,
        restarted: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        self._line, self._log = child.command(module, str(job)), folder / "student.log"
        self._timeout_s, self._pauses_s, self._restarted = timeout_s, pauses_s, restarted
        self._process: subprocess.Popen[bytes] | None = None
        self._stack, self._rest = ExitStack(), b""
        self._failed = 0
        self._not_before = 0.0

    def start(self) -> None:
        """Start the process, and wait until it is ready. Raises UserError for what a user did wrong, DeviceFailed where it fails."""
        try:
            self._start()
        except _Ended as error:
            raise DeviceFailed(f"its process did not start: {error}{self._said()}") from error

    def ask(self, exchange: Exchange) -> dict[str, Any]:
        """What it finds out of an exchange; {"no_answer": why} where it crashes or hangs. Raises Paused where it waits to start again."""
        try:
            if self._process is None:
                if time.monotonic() < self._not_before:
                    raise Paused
                self._restarted()
                self._start()
            found = self._asked(exchange)
        except (_Ended, UserError) as error:
            self._stop()
            self._not_before = time.monotonic() + self._pauses_s[min(self._failed, len(self._pauses_s) - 1)]
            self._failed += 1
            return {"no_answer": f"its process {error}"}
        self._failed = 0
        return found

    def close(self) -> None:
        """End the process."""
        self._stop()

    def _start(self) -> None:
        log = self._stack.enter_context(self._log.open("wb"))
        self._process = self._stack.enter_context(
            child.started(self._line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, bufsize=0)
        )
        self._rest = b""
        said = self._next(_START_S)
        if "mistake" in said:
            self._stop()
            raise UserError(said["mistake"])

    def _stop(self) -> None:
        process, self._process = self._process, None
        self._stack.close()
        for pipe in () if process is None else (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def _asked(self, exchange: Exchange) -> dict[str, Any]:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        # Between two questions it may have died.
        try:
            data = memoryview(json.dumps(exchange.told()).encode() + b"\n")
            while data:
                data = data[os.write(process.stdin.fileno(), data) :]
        except BrokenPipeError as error:
            raise _Ended(self._status()) from error
        if self._log.stat().st_size > bounded.LOG_LIMIT:
            raise _Ended("printed too much")
        return self._next(self._timeout_s)

    def _next(self, timeout_s: float) -> dict[str, Any]:
        """The next line that it prints."""
        process, deadline = self._process, time.monotonic() + timeout_s
        assert process is not None
        assert process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._rest:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise _Ended(f"gave no answer within {timeout_s:g} s")
                if not (part := os.read(process.stdout.fileno(), _CHUNK)):
                    raise _Ended(self._status())
                self._rest += part
                if len(self._rest) > bounded.LIMIT:
                    raise _Ended("printed too much")
        line, _, self._rest = self._rest.partition(b"\n")
        try:
            found = json.loads(line)
        except ValueError as error:
            raise _Ended("printed what is no answer") from error
        assert isinstance(found, dict)
        return found

    def _status(self) -> str:
        assert self._process is not None
        try:
            return f"ended with exit status {self._process.wait(1.0)}"
        except subprocess.TimeoutExpired:
            return "closed its output"

    def _said(self) -> str:
        lines = bounded.tail(self._log, 4096).strip().splitlines() if self._log.exists() else []
        return f" ({lines[-1][:300]})" if lines else ""


class Paused(Exception):
    """The student crashed in a row, and is not started again yet."""
